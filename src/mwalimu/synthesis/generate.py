"""STAGE 1: prompts -> accepted rows. Every row that is not accepted is a reject with its reason."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

from mwalimu.config import Config
from mwalimu.data.asked import asked_digest
from mwalimu.data.record import Record
from mwalimu.data.seen import FirstSeen
from mwalimu.errors import TooFewAnswers
from mwalimu.files import atomic_writer, write_json
from mwalimu.progress import Progress
from mwalimu.run import Run
from mwalimu.synthesis.engine import Engine, Item
from mwalimu.synthesis.job import Job
from mwalimu.synthesis.ledger import Tally, total_usd, write_ledger
from mwalimu.synthesis.live import LiveView
from mwalimu.synthesis.opening import open_job
from mwalimu.synthesis.rows import accepted_row, reject_row, to_line
from mwalimu.synthesis.verdict import Outcome
from mwalimu.teachers.base import Teacher
from mwalimu.teachers.factory import Build

T = TypeVar("T")


class Rows(Protocol):
    """Records that can be gone through more than once: a list, or a file."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Record]: ...


def generate(
    config: Config,
    run: Run,
    store: Path,
    train: Rows,
    validation: Rows | None,
    *,
    stage_fingerprint: str,
    on_progress: Progress,
    teacher: Teacher | None = None,
    build: Build | None = None,
) -> dict[str, Any]:
    """Publishes train.jsonl, validation.jsonl, rejects.jsonl and ledger.json; returns the ledger.

    `teacher` stands in for the one that the config names, `build` for how all are built.

    Raises:
        TooFewAnswers: after publishing, when the accepted share is below generate.min_ok.
        TeacherError: the teacher cannot be used; what it answered so far stays in the store.
        BudgetReached: a cap would be exceeded; what was bought so far stays in the store.
    """
    splits = {"train": train} | ({"validation": validation} if validation else {})
    stage = _Stage(config, run, splits)
    ledger = _run(stage.execute(store, teacher, build, on_progress))
    ledger_path = run.path("generate", "ledger.json")
    write_json(ledger_path, ledger)
    _require_enough(config, ledger, run)
    run.finish("generate", stage_fingerprint, [*stage.files, ledger_path], _summary(ledger))
    return ledger


def answer(
    config: Config,
    store: Path,
    records: list[Record],
    *,
    run_id: str,
    on_progress: Progress,
    validation: Iterable[Record] = (),
    build: Build | None = None,
) -> tuple[list[Outcome], float | None]:
    """The teacher's outcomes for `records`, one answer each, through the same store, in order.

    With them the price of the answers in dollars, None where it is unknown. `validation` are the
    rows by which an ensemble chooses its best.
    """
    settings = config.generate.model_copy(
        update={"samples": 1, "conversation": "last", "rationale": "drop"}
    )
    config = config.model_copy(update={"generate": settings})
    return _run(_answer(config, store, records, validation, run_id, on_progress, build))


async def _answer(
    config: Config,
    store: Path,
    records: list[Record],
    validation: Iterable[Record],
    run_id: str,
    on_progress: Progress,
    build: Build | None,
) -> tuple[list[Outcome], float | None]:
    outcomes: list[Outcome] = []
    tally = Tally()
    async with open_job(config, store, run_id, build=build) as job:
        await job.prepare(validation)
        view = LiveView(job, "teacher", len(records), tally.counts, on_progress)
        async with view.shown():
            async for outcome in job.engine().run(map(Item, records)):
                outcomes.append(outcome)
                tally.add(outcome.status, outcome.reason)
        return outcomes, total_usd(job)


class _Stage:
    """One pass over the splits, writing as it goes."""

    def __init__(self, config: Config, run: Run, splits: Mapping[str, Rows]) -> None:
        self.config = config
        self.run = run
        self.splits = splits
        self.total = sum(map(len, splits.values())) * config.generate.samples
        self.files = [run.path("generate", f"{name}.jsonl") for name in (*splits, "rejects")]
        self.tally = Tally()

    async def execute(
        self, store: Path, teacher: Teacher | None, build: Build | None, on_progress: Progress
    ) -> dict[str, Any]:
        with ExitStack() as stack:
            seen = stack.enter_context(FirstSeen())
            *outputs, rejects = [stack.enter_context(atomic_writer(path)) for path in self.files]
            opened = open_job(
                self.config, store, self.run.id, teacher, build=build, keeps_signals=True
            )
            async with opened as job:
                await job.prepare(self.splits.get("validation", ()))
                await self._buy_batches(job, on_progress)
                view = LiveView(job, "generate", self.total, self.tally.counts, on_progress)
                async with view.shown():
                    for records, output in zip(self.splits.values(), outputs, strict=True):
                        items = self._items(records, seen)
                        await self._write_all(job.engine(), items, output, rejects)
                job.store.flush()
                return write_ledger(job, self.tally, self.total)

    async def _buy_batches(self, job: Job, on_progress: Progress) -> None:
        """Files of requests at half the price; what they leave out is asked by the pass itself.

        Batches that an earlier life left at the provider are taken in, whatever the mode is now.
        """
        if self.config.teacher.mode == "online" and not (job.store.folder / "batches").is_dir():
            return
        from mwalimu.synthesis.batches.prefetch import run_batches

        draws = range(self.config.generate.samples)

        def items() -> Iterator[Item]:
            for rows in self.splits.values():
                for record in rows:
                    yield from (Item(record, sample) for sample in draws)

        await run_batches(job, items, lambda text: on_progress("batch", 0, self.total, text))

    async def _write_all(
        self,
        engine: Engine,
        items: Iterable[Item | Outcome],
        output: IO[bytes],
        rejects: IO[bytes],
    ) -> None:
        async for outcome in engine.run(items):
            self.tally.add(outcome.status, outcome.reason)
            if outcome.status == "ok":
                output.write(to_line(accepted_row(outcome)))
            else:
                rejects.write(to_line(reject_row(outcome)))

    def _items(self, records: Iterable[Record], seen: FirstSeen) -> Iterator[Item | Outcome]:
        """Every draw of every row; exact repetitions of a prompt are left out before they cost."""
        for record in records:
            first = self._first(record, seen) if self.config.generate.deduplicate else None
            for sample in range(self.config.generate.samples):
                drawn = record if sample == 0 else replace(record, id=f"{record.id}#{sample}")
                if first is None:
                    yield Item(drawn, sample)
                else:
                    reason = "the same prompt as another row"
                    yield Outcome(drawn, "duplicate", reason, duplicate_of=first)

    @staticmethod
    def _first(record: Record, seen: FirstSeen) -> str | None:
        """The id of the row that asked the same before; None where this is the first."""
        first = seen.first(asked_digest(record), record.id)
        return None if first is None else str(first)


def _run(work: Coroutine[Any, Any, T]) -> T:
    """On uvloop where it is installed."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner, _rare_collections():
        return runner.run(work)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Thousands of rows on their way are no garbage: going through them again and again costs a
    fifth of the time.
    """
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _summary(ledger: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": ledger["inputs"], "outcomes": ledger["outcomes"], "tokens": ledger["tokens"]}


def _require_enough(config: Config, ledger: dict[str, Any], run: Run) -> None:
    outcomes = ledger["outcomes"]
    asked = ledger["inputs"] - outcomes.get("duplicate", 0)
    share = outcomes.get("ok", 0) / asked if asked else 0.0
    if share < config.generate.min_ok:
        rejects = run.path("generate", "rejects.jsonl")
        raise TooFewAnswers(
            f"{share:.1%} of the answers were accepted, {config.generate.min_ok:.1%} are asked for",
            where=str(rejects),
            fix="see the reasons there; mend them, or lower generate.min_ok",
        )
