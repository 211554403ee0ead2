"""STAGE 1: prompts -> accepted rows. Every row that is not accepted is a reject with its reason."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import IO, Any

from mwalimu.config import Config
from mwalimu.data.record import Record
from mwalimu.errors import TooFewAnswers
from mwalimu.run import Run, atomic_writer, fingerprint, write_json
from mwalimu.synthesis.engine import Calls, Engine
from mwalimu.synthesis.store import AnswerStore
from mwalimu.synthesis.verdict import Outcome
from mwalimu.teachers.base import Sampling, Teacher
from mwalimu.teachers.factory import build_teacher

Progress = Callable[[str, int, int, str], None]


def generate(
    config: Config,
    run: Run,
    store: Path,
    train: list[Record],
    validation: list[Record] | None,
    *,
    stage_fingerprint: str,
    on_progress: Progress,
    teacher: Teacher | None = None,
) -> dict[str, Any]:
    """Publishes train.jsonl, validation.jsonl, rejects.jsonl and ledger.json; returns the ledger.

    Raises:
        TooFewAnswers: after publishing, when the accepted share is below generate.min_ok.
        TeacherError: the teacher cannot be used; what it answered so far stays in the store.
    """
    splits = {"train": train} | ({"validation": validation} if validation else {})
    stage = _Stage(config, run, splits, on_progress)
    ledger = asyncio.run(stage.execute(store, teacher))
    ledger_path = run.path("generate", "ledger.json")
    write_json(ledger_path, ledger)
    _require_enough(config, ledger, run)
    run.finish("generate", stage_fingerprint, [*stage.files, ledger_path], _summary(ledger))
    return ledger


async def answer(
    config: Config, store: Path, records: list[Record], *, on_progress: Progress
) -> list[Outcome]:
    """The teacher's outcomes for `records`, through the same store, in order."""
    outcomes = []
    async with _engine(config, store, None) as engine:
        async for outcome in engine.run(records):
            outcomes.append(outcome)
            on_progress("teacher", len(outcomes), len(records), "")
    return outcomes


@asynccontextmanager
async def _engine(config: Config, folder: Path, teacher: Teacher | None) -> AsyncIterator[Engine]:
    settings = config.teacher
    chosen = teacher or build_teacher(settings)
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens, config.seed)
    with AnswerStore(folder) as store:
        try:
            await chosen.check()
            yield Engine(chosen, store, sampling, max_retries=settings.max_retries)
        finally:
            await chosen.close()


class _Stage:
    """One pass over the splits, writing as it goes."""

    def __init__(
        self, config: Config, run: Run, splits: dict[str, list[Record]], on_progress: Progress
    ) -> None:
        self.config = config
        self.run = run
        self.splits = splits
        self.on_progress = on_progress
        self.total = sum(map(len, splits.values()))
        self.files = [run.path("generate", f"{name}.jsonl") for name in (*splits, "rejects")]
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self._seen: dict[bytes, str] = {}

    async def execute(self, store: Path, teacher: Teacher | None) -> dict[str, Any]:
        with ExitStack() as stack:
            *outputs, rejects = [stack.enter_context(atomic_writer(path)) for path in self.files]
            async with _engine(self.config, store, teacher) as engine:
                for records, output in zip(self.splits.values(), outputs, strict=True):
                    await self._split(engine, records, output, rejects)
        return self._ledger(engine.calls)

    async def _split(
        self, engine: Engine, records: list[Record], output: IO[bytes], rejects: IO[bytes]
    ) -> None:
        duplicates: dict[str, str] = {}
        waiting = iter(records)
        async for outcome in engine.run(self._unique(records, duplicates)):
            for record in waiting:
                if record.id == outcome.record.id:
                    break
                self._write(_duplicate(record, duplicates), output, rejects)
            self._write(outcome, output, rejects)
        for record in waiting:
            self._write(_duplicate(record, duplicates), output, rejects)

    def _unique(self, records: Iterable[Record], duplicates: dict[str, str]) -> Iterator[Record]:
        """The rows to ask, leaving exact repetitions of a prompt out before anything is paid."""
        for record in records:
            prompt = [message.to_json() for message in record.messages]
            digest = bytes.fromhex(fingerprint(prompt))
            first = self._seen.setdefault(digest, record.id)
            if first != record.id and self.config.generate.deduplicate:
                duplicates[record.id] = first
            else:
                yield record

    def _write(self, outcome: Outcome, output: IO[bytes], rejects: IO[bytes]) -> None:
        self.counts[outcome.status] += 1
        if outcome.completion is not None:
            self.tokens["prompt"] += outcome.completion.usage.prompt_tokens
            self.tokens["completion"] += outcome.completion.usage.completion_tokens
        if outcome.status == "ok":
            output.write(_line(accepted_row(outcome)))
        else:
            self.reasons[outcome.reason] += 1
            rejects.write(_line(reject_row(outcome)))
        done = sum(self.counts.values())
        self.on_progress("generate", done, self.total, f"{self.counts['ok']} accepted")

    def _ledger(self, calls: Calls) -> dict[str, Any]:
        return {
            "inputs": self.total,
            "outcomes": dict(sorted(self.counts.items())),
            "reject_reasons": dict(self.reasons.most_common(20)),
            "tokens": dict(self.tokens),
            "requests_sent": calls.sent,
            "answers_reused": calls.reused,
            "retries": dict(calls.retries),
            "ambiguous_retries": calls.ambiguous,
            "repeated_after_a_crash": calls.repeated,
            "usd": _usd(self.config, self.tokens),
        }


def _duplicate(record: Record, duplicates: dict[str, str]) -> Outcome:
    reason = "the same prompt as another row"
    return Outcome(record, "duplicate", reason=reason, duplicate_of=duplicates[record.id])


def accepted_row(outcome: Outcome) -> dict[str, Any]:
    """The row with the teacher's answer as its last message; the gold answer, if any, beside it."""
    assert outcome.completion is not None
    record = outcome.record
    answer = {"role": "assistant", "content": outcome.completion.text}
    row: dict[str, Any] = {
        "id": record.id,
        "task": record.task,
        "messages": [*(message.to_json() for message in record.messages), answer],
        "teacher": {"model": outcome.completion.model, "request_key": outcome.request_key},
    }
    if record.reference is not None:
        row["reference"] = record.reference
    if record.metadata:
        row["metadata"] = record.metadata
    return row


def reject_row(outcome: Outcome) -> dict[str, Any]:
    row = outcome.record.to_json() | {"status": outcome.status, "reason": outcome.reason}
    if outcome.completion is not None:
        row["answer"] = outcome.completion.text
    if outcome.duplicate_of:
        row["duplicate_of"] = outcome.duplicate_of
    return row


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _usd(config: Config, tokens: Counter[str]) -> float | None:
    """The price of the answers used, whenever they were paid; unknown stays unknown."""
    return config.teacher.usd(tokens["prompt"], tokens["completion"])


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
