"""What a student is worth on rows: its grades, how fast it answers, how large it is, what it costs.

Kept in the run folder with all that it depends on, so that nothing is measured twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from mwalimu.config import Config
from mwalimu.data.readers import to_record
from mwalimu.data.record import Record
from mwalimu.errors import ConfigError
from mwalimu.evaluation.asking import Arm, Asking
from mwalimu.evaluation.evaluate import graded
from mwalimu.evaluation.price import price
from mwalimu.evaluation.tasks.own import load_tasks
from mwalimu.files import atomic_writer
from mwalimu.progress import Progress
from mwalimu.run import Run


@dataclass(frozen=True, slots=True)
class Measured:
    """`scores` in 0..1, a row, in the order of the rows; `quality` is their mean.

    `latency` is the median of the seconds of one answer alone, `size` of the student's folder in
    MiB, `cost` dollars per 1,000 answers on a machine that is never idle, `parameters` those of the
    student; None where unknown.
    """

    scores: tuple[float, ...]
    quality: float
    latency: float | None
    size: float | None
    cost: float | None
    parameters: int | None = None

    def values(self, objectives: Sequence[str]) -> list[float]:
        """Of the objectives, in order.

        Raises:
            ConfigError: one of them is unknown here.
        """
        found = []
        for name in objectives:
            value = getattr(self, name)
            if value is None:
                fix = "set evaluate.usd_per_hour" if name == "cost" else "leave it out"
                raise ConfigError(f"{name} is not known here", where="tune.objectives", fix=fix)
            found.append(float(value))
        return found

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measured(
    config: Config, run: Run, rows: Sequence[Record], name: str, progress: Progress
) -> Measured:
    """The student of `run` on `rows`; its answers are kept in evaluate/answers/<name>.jsonl.

    Raises:
        RunError: the student is not trained.
    """
    state = run.require("finetune")
    settings = config.evaluate.model_copy(update={"likelihood": False})
    asked = config.model_copy(update={"evaluate": settings})
    asking = Asking(asked, run, list(rows), state.fingerprint, progress)
    found = asking.answered(Arm(name, run.path("finetune", "student"), None, None))
    tasks = load_tasks(settings.tasks_file)
    scores = tuple(
        float(graded(tasks, (), record, answer, None, None)["score"])
        for record, answer in zip(rows, found.answers, strict=True)
    )
    performance = found.performance
    cost = price(
        usd_per_hour=settings.usd_per_hour,
        requests_per_s=performance.requests_per_s,
        teacher_usd_per_1k=None,
    )
    return Measured(
        scores,
        sum(scores) / len(scores),
        performance.latency_p50_s,
        performance.size_mib,
        None if cost is None else cost["usd_per_1k"],
        state.summary.get("parameters"),
    )


def write_rows(path: Path, rows: Sequence[Record]) -> None:
    with atomic_writer(path) as handle:
        for row in rows:
            handle.write(orjson.dumps(row.to_json()) + b"\n")


def read_rows(path: Path) -> list[Record]:
    """Rows in chat form, the answer last: those that `write_rows` wrote, or a stage published."""
    with open(path, "rb") as handle:
        rows = [orjson.loads(line) for line in handle]
    return [to_record(row, task=row["task"], default_id="") for row in rows]
