"""STAGE 3: every arm answers the same held-out rows; what is published says how well and how dear.

An arm that was finished before an interruption is not asked again: beside its predictions stands
`evaluate/performance/<arm>.json` with what they depended on and their hash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwalimu.config import Config
from mwalimu.data.batched_generation import Answer
from mwalimu.data.record import Record
from mwalimu.errors import DataError
from mwalimu.evaluation.generate import load_answerer
from mwalimu.evaluation.metrics import token_f1
from mwalimu.evaluation.performance import (
    LATENCY_ROWS,
    WARM_UP,
    Performance,
    measured_answers,
    release_memory,
)
from mwalimu.evaluation.summary import TEACHER, Result, Row, summarise
from mwalimu.evaluation.tasks import grade
from mwalimu.run import Run, atomic_writer, fingerprint, sha256_file, write_json

Progress = Callable[[str, int, int, str], None]


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the models compared.

    `folder` is a transformers folder (or hub id) to answer with on this machine. `answers`
    (record id -> text) are those of a served teacher: nothing is known of its speed.
    """

    name: str
    folder: Path | None
    answers: dict[str, str] | None
    usd_per_1k: float | None


def evaluate(
    config: Config,
    run: Run,
    arms: list[Arm],
    test: list[Record],
    *,
    stage_fingerprint: str,
    on_progress: Progress,
) -> dict[str, Any]:
    """Publishes predictions/<arm>.jsonl, performance.json and scores.json; returns the scores.

    The last arm is the distilled student, which the others are compared with.

    Raises:
        DataError: there are no test rows, or some have no gold answer.
        StudentError: an arm's folder cannot be loaded.
    """
    _require_references(test)
    stage = _Stage(config, run, test, stage_fingerprint, on_progress)
    results = [stage.result(arm) for arm in arms]
    summary = summarise(config, results)
    performance, scores = (run.path("evaluate", f"{n}.json") for n in ("performance", "scores"))
    write_json(performance, _performance(results))
    write_json(scores, summary)
    files = [performance, scores, *map(stage.predictions, arms)]
    run.finish("evaluate", stage_fingerprint, files, summary)
    return summary


def _require_references(test: list[Record]) -> None:
    if not test:
        raise DataError("has no rows", where="data.test", fix="add held-out rows")
    if lacking := [record.id for record in test if record.reference is None]:
        raise DataError(
            f"{len(lacking)} of {len(test)} rows have no gold answer, the first is {lacking[0]!r}",
            where="data.test",
            fix="give every test row its answer",
        )


class _Stage:
    """The arms one by one, each published as soon as it is done."""

    def __init__(
        self,
        config: Config,
        run: Run,
        test: list[Record],
        stage_fingerprint: str,
        on_progress: Progress,
    ) -> None:
        self.config = config
        self.run = run
        self.test = test
        self.on_progress = on_progress
        self.basis = {
            "stage": stage_fingerprint,
            "max_tokens": config.evaluate.max_tokens,
            "batch_size": config.evaluate.batch_size,
            "test": [record.to_json() for record in test],
        }

    def predictions(self, arm: Arm) -> Path:
        return self.run.path("evaluate", "predictions", f"{arm.name}.jsonl")

    def result(self, arm: Arm) -> Result:
        """From the disk where that is whole and fits, else by asking the arm."""
        state = self.run.path("evaluate", "performance", f"{arm.name}.json")
        path, wanted = self.predictions(arm), fingerprint(self.basis | {"arm": _identity(arm)})
        performance = _known(state, path, wanted)
        if performance is not None:
            self.on_progress(f"evaluate {arm.name}", len(self.test), len(self.test), "already done")
            return Result(arm.name, _read_rows(path), performance, arm.usd_per_1k)
        answers, performance = self._ask(arm)
        rows = [_row(*pair) for pair in zip(self.test, answers, strict=True)]
        _write_rows(path, rows)
        facts = {"fingerprint": wanted, "predictions_sha256": sha256_file(path)}
        write_json(state, facts | {"performance": performance.to_json()})
        return Result(arm.name, rows, performance, arm.usd_per_1k)

    def _ask(self, arm: Arm) -> tuple[Sequence[Answer | str], Performance]:
        stage, total = f"evaluate {arm.name}", len(self.test)
        if arm.folder is None:
            texts = [(arm.answers or {}).get(record.id, "") for record in self.test]
            self.on_progress(stage, total, total, "")
            return texts, Performance()
        self.on_progress(stage, 0, total, "")
        settings = self.config.evaluate
        # The setting is the student's; a teacher's own code is never run.
        trusted = self.config.student.trust_remote_code and arm.name != TEACHER
        try:
            return measured_answers(
                load_answerer(
                    arm.folder, max_tokens=settings.max_tokens, trust_remote_code=trusted
                ),
                self.test,
                folder=arm.folder,
                batch_size=settings.batch_size,
                on_batch=lambda done: self.on_progress(stage, done, total, ""),
            )
        finally:
            release_memory()


def _identity(arm: Arm) -> Any:
    """What an arm's answers depend on: the files of its folder, a hub id, or the answers."""
    if arm.folder is None:
        return arm.answers
    files = sorted(path for path in arm.folder.glob("*") if path.is_file())
    return {path.name: sha256_file(path) for path in files} or str(arm.folder)


def _known(state: Path, predictions: Path, wanted: str) -> Performance | None:
    """What an earlier life measured, if its predictions are whole and depend on the same."""
    try:
        facts = json.loads(state.read_bytes())
        if facts["fingerprint"] != wanted:
            return None
        if facts["predictions_sha256"] != sha256_file(predictions):
            return None
        return Performance(**facts["performance"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _row(record: Record, answer: Answer | str) -> Row:
    """`score` is the task's headline; `finished`: the model itself ended, None for a served one."""
    gold = record.reference or ""
    prediction = answer if isinstance(answer, str) else answer.text
    return {
        "id": record.id,
        "task": record.task,
        "prediction": prediction,
        "reference": gold,
        "finished": None if isinstance(answer, str) else answer.stopped,
        "score": grade(record.task, prediction, gold),
        "scores": {"token_f1": token_f1(prediction, gold)},
    }


def _write_rows(path: Path, rows: list[Row]) -> None:
    with atomic_writer(path) as handle:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace")
            handle.write(line + b"\n")


def _read_rows(path: Path) -> list[Row]:
    with open(path, "rb") as handle:
        return [json.loads(line) for line in handle]


def _performance(results: Sequence[Result]) -> dict[str, Any]:
    """performance.json: each arm's measurements and how they were made."""
    method = {"latency_rows": LATENCY_ROWS, "warm_up": WARM_UP, "order": "one arm after another"}
    arms = {result.name: result.performance.to_json() for result in results}
    return {"method": method, "arms": arms}
