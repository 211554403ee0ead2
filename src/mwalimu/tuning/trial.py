"""One trial, in a process of its own: a recipe's student, trained and measured on validation rows.

The order comes as one line on stdin; what happens goes out as lines of JSON on stdout. The end of
stdin says stop: a training under way saves a checkpoint first, and goes on from it another time.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from mwalimu.config import BudgetConfig, Config, needed_signals
from mwalimu.errors import BudgetReached, Misplaced, MwalimuError
from mwalimu.files import exclusive, sha256_file
from mwalimu.garbage import left_at_the_end
from mwalimu.pipeline import Pipeline
from mwalimu.progress import live_progress
from mwalimu.run import Run, fingerprint
from mwalimu.shipping.telling import told
from mwalimu.synthesis.budget import Prices
from mwalimu.telemetry import setting_up
from mwalimu.tuning.measuring import measured, read_rows

Tell = Callable[[dict[str, Any]], None]
STOPPED = 130
FIX = "say --allow-spend, or leave such recipes out of tune.space"


@dataclass(frozen=True, slots=True)
class Order:
    """`config` is the recipe's, `folder` its run folder, `donors` run folders to take stages from.

    `rows` is the file of validation rows that decide; `stages` a folder whose lock lets one trial
    at a time make what others then take over. `version` is ours, where it was written.
    """

    config: dict[str, Any]
    folder: str
    store: str
    rows: str
    stages: str
    donors: tuple[str, ...]
    allow_spend: bool
    version: str = field(default_factory=partial(metadata.version, "mwalimu"))

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def run_trial(order: Order, tell: Tell) -> None:
    """Tells `usd` and `validated_on`, then `moment` at each validation, then `done` with what was
    measured.
    """
    _require_the_same_place(order)
    config = Config.model_validate(order.config)
    folder = Path(order.folder)
    with exclusive(folder, "trial", wait=True), live_progress() as show:
        tail = Tail(folder / "finetune" / "metrics.jsonl", tell)

        def progress(stage: str, done: int, total: int, note: str) -> None:
            show(stage, done, total, note)
            if stage == "finetune":
                tail.read()

        with exclusive(Path(order.stages), "search's stages", wait=True):
            pipeline = Pipeline(
                config if order.allow_spend else frugal(config),
                folder,
                store=Path(order.store),
                progress=progress,
                donors=[Run(Path(donor)) for donor in order.donors],
            )
            before_training(pipeline, order.allow_spend)
            tell({"usd": spent(pipeline)})
            tell({"validated_on": validated_on(pipeline.run)})
        pipeline.finetune()
        tail.read()
        found = measured(
            pipeline.config, pipeline.run, read_rows(Path(order.rows)), "validation", progress
        )
        tell({"done": found.to_json()})


def _require_the_same_place(order: Order) -> None:
    """Raises Misplaced: this is a node where the search cannot be gone on with."""
    here = metadata.version("mwalimu")
    if here != order.version:
        raise Misplaced(
            f"node {platform.node()} has mwalimu {here}, the search {order.version}",
            where="scale",
            fix="install the same version on all nodes",
        )
    if not Path(order.rows).is_file():
        raise Misplaced(
            f"the folder of the search is not on node {platform.node()}",
            where=order.rows,
            fix="keep the run on a file system that all nodes have at the same path",
        )


def before_training(pipeline: Pipeline, allow_spend: bool) -> None:
    """Raises BudgetReached: it would ask a teacher that costs, and may not."""
    if pipeline.asked.prompts is not None:
        pipeline.synthesise()
    pipeline.generate()
    pipeline.curate()
    if not allow_spend and _would_score(pipeline):
        raise BudgetReached("this recipe has the teacher score tokens anew", where="tune", fix=FIX)
    pipeline.signals()


def validated_on(run: Run) -> str:
    """A hash of the rows by which a training is validated: filters may leave some of them out."""
    rows = (path for split, path in run.learned().items() if split != "train")
    return fingerprint([sha256_file(path) for path in rows])


def _would_score(pipeline: Pipeline) -> bool:
    """Whether a server would be asked for more than answers."""
    config = pipeline.config
    if config.teacher.scoring == "none":
        return False
    if config.finetune.teacher == "live" or config.finetune.on_policy is not None:
        return True
    needed = bool(needed_signals(config))
    return needed and not pipeline.has("signals", pipeline.fingerprints.signals())


def frugal(config: Config) -> Config:
    """No request to a teacher that costs: what was bought already has to do."""
    if all(Prices(teacher).free for teacher in config.teachers()):
        return config
    return config.model_copy(update={"budget": BudgetConfig(requests=0)})


def spent(pipeline: Pipeline) -> float:
    """Dollars that this trial's own requests cost; where no price is known, none."""
    if all(Prices(teacher).free for teacher in pipeline.config.teachers()):
        return 0.0
    from mwalimu.synthesis.store import AnswerStore

    with AnswerStore(pipeline.store, pipeline.run.id) as store:
        spend = store.spend()
    return (spend.nano_usd + spend.open_nano_usd) / 1e9


class Tail:
    """Tells each validation that a growing metrics.jsonl lists, once."""

    def __init__(self, path: Path, tell: Tell) -> None:
        self.path = path
        self.tell = tell
        self._at = 0
        self._last = 0.0

    def read(self) -> None:
        for line in self._lines():
            if "answer_nats" in line and line["epoch"] > self._last:
                self._last = line["epoch"]
                self.tell({"moment": {"epoch": line["epoch"], "nats": line["answer_nats"]}})

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Those that are whole and new; a training that goes on may have cut the file."""
        try:
            with open(self.path, "rb") as handle:
                size = os.fstat(handle.fileno()).st_size
                if size < self._at:
                    self._at = 0
                handle.seek(self._at)
                text = handle.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.splitlines():
            yield json.loads(line)


def main() -> int:
    """The exit code. Nothing but ours goes to stdout: what libraries print there goes to stderr."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(event: dict[str, Any]) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    order = Order(**json.loads(sys.stdin.buffer.readline()))
    _stop_with_the_parent()
    with setting_up.child(command="tune trial"):
        try:
            run_trial(order, tell)
        except MwalimuError as error:
            tell({"failed": told(error)})
            return error.exit_code
        except KeyboardInterrupt:
            return STOPPED
        return 0


def _stop_with_the_parent() -> None:
    """The parent holds the other end of stdin, and closes it to say stop, or by dying."""

    def wait() -> None:
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    left_at_the_end()
    sys.exit(main())
