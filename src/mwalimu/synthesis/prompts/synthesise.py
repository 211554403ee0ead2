"""The teacher writes prompts, round by round, until there are enough or no more come.

Asked for through the same engine, store and budget as answers: killed at any moment and started
again, the stage asks for nothing that was paid for and makes the same files.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from mwalimu.config import Config, GenerateConfig, PromptsConfig
from mwalimu.data.dataset import open_dataset
from mwalimu.data.record import Json, Record
from mwalimu.errors import TooFewAnswers
from mwalimu.files import atomic_writer, write_json
from mwalimu.progress import Progress
from mwalimu.run import Run
from mwalimu.synthesis.answer import Row
from mwalimu.synthesis.engine import Item
from mwalimu.synthesis.job import Job
from mwalimu.synthesis.ledger import Tally, write_ledger
from mwalimu.synthesis.live import LiveView
from mwalimu.synthesis.opening import open_job
from mwalimu.synthesis.prompts.base import Ask, Candidate, Method, Source
from mwalimu.synthesis.prompts.conversations import Conversations
from mwalimu.synthesis.prompts.documents import Documents
from mwalimu.synthesis.prompts.evolve import Evolve
from mwalimu.synthesis.prompts.fitness import why_not
from mwalimu.synthesis.prompts.personas import Personas
from mwalimu.synthesis.prompts.pool import Pool
from mwalimu.synthesis.prompts.self_instruct import SelfInstruct
from mwalimu.synthesis.prompts.templates import load_templates
from mwalimu.synthesis.rows import to_line
from mwalimu.synthesis.verdict import Outcome
from mwalimu.teachers.base import Teacher
from mwalimu.teachers.factory import Build

STAGE = "prompts"
DRY = 10  # requests in a row, in two rounds at least, without a new prompt: no more will come


def synthesise(
    config: Config,
    run: Run,
    store: Path,
    *,
    stage_fingerprint: str,
    on_progress: Progress,
    teacher: Teacher | None = None,
    build: Build | None = None,
) -> Json:
    """Publishes train.jsonl, rejects.jsonl and ledger.json under prompts/; returns the ledger.

    Raises:
        DataError, ConfigError: seeds, personas, documents or templates cannot be used.
        TeacherError: the teacher cannot be used; what it wrote so far stays in the store.
        BudgetReached: a cap would be exceeded; what was bought so far stays in the store.
        TooFewAnswers: not one prompt was accepted.
    """
    settings = config.prompts
    assert settings is not None
    stage = _Stage(config, settings, run)
    ledger = asyncio.run(stage.execute(store, teacher, build, on_progress))
    ledger_path = run.path(STAGE, "ledger.json")
    write_json(ledger_path, ledger)
    if not stage.accepted:
        raise TooFewAnswers(
            "no prompt was accepted",
            where=str(stage.rejects_path),
            fix="see the reasons there; mend the seeds, the template or prompts.max_similarity",
        )
    run.finish(STAGE, stage_fingerprint, [*stage.files, ledger_path], ledger[STAGE])
    return ledger


class _Stage:
    """One pass over all rounds, writing as it goes."""

    def __init__(self, config: Config, settings: PromptsConfig, run: Run) -> None:
        self.config = config
        self.settings = settings
        self.run = run
        self.rejects_path = run.path(STAGE, "rejects.jsonl")
        self.files = [run.path(STAGE, "train.jsonl"), self.rejects_path]
        self.requests = Tally()
        self.verdicts: Counter[str] = Counter()
        self.asked: dict[str, Ask] = {}

    @property
    def accepted(self) -> int:
        return self.verdicts["ok"]

    async def execute(
        self, store: Path, teacher: Teacher | None, build: Build | None, on_progress: Progress
    ) -> Json:
        with ExitStack() as stack:
            pool = stack.enter_context(Pool(self.settings.max_similarity))
            method = self._method(pool)
            output, rejects = [stack.enter_context(atomic_writer(path)) for path in self.files]
            opened = open_job(_plain(self.config), store, self.run.id, teacher, build=build)
            async with opened as job:
                view = _View(job, STAGE, self.settings.rows, self.verdicts, on_progress)
                async with view.shown():
                    stopped, rounds = await self._rounds(job, method, pool, output, rejects)
                job.store.flush()
                ledger = write_ledger(job, self.requests, self.requests.counts.total())
        return ledger | {STAGE: self._summary(stopped, rounds)}

    def _method(self, pool: Pool) -> Method:
        settings = self.settings
        source = Source(
            settings,
            pool,
            _add_seeds(self.config, settings, pool),
            load_templates(settings.template),
            self.config.seed,
        )
        match settings.method:
            case "self_instruct":
                return SelfInstruct(source)
            case "evolve":
                return Evolve(source)
            case "personas":
                return Personas(source)
            case "documents":
                return Documents(source, summaries=self.config.task == "summarization")
            case "conversations":
                return Conversations(source)

    async def _rounds(
        self, job: Job, method: Method, pool: Pool, output: IO[bytes], rejects: IO[bytes]
    ) -> tuple[str, int]:
        """(why it stopped, after how many rounds)."""
        dry: list[int] = []
        for number in range(self.settings.rounds):
            before, earlier = self.accepted, self.requests.counts.total()
            items = self._items(method.round(number, self.settings.rows - before))

            async def program(row: Row) -> Outcome:
                return await method.answer(row, self.asked[row.record.id], job)

            async for outcome in job.engine(program).run(items):
                self._take(outcome, method, pool, output, rejects)
            asked = self.requests.counts.total() - earlier
            if not asked:
                return "nothing is left to ask", number
            if self.accepted >= self.settings.rows:
                return "all rows are there", number + 1
            dry = [*dry, asked] if self.accepted == before else []
            if len(dry) > 1 and sum(dry) >= DRY:
                return f"the last {sum(dry)} requests brought no new prompt", number + 1
        return "all rounds are done", self.settings.rounds

    def _items(self, asks: Iterator[Ask]) -> Iterator[Item | Outcome]:
        """What is known without asking passes as it is."""
        for ask in asks:
            self.asked[ask.id] = ask
            record = Record(ask.id, "generic", ask.messages)
            yield Outcome(record, "ok") if ask.known else Item(record, ask.sample)

    def _take(
        self,
        outcome: Outcome,
        method: Method,
        pool: Pool,
        output: IO[bytes],
        rejects: IO[bytes],
    ) -> None:
        ask = self.asked.pop(outcome.record.id)
        self.requests.add(outcome.status, outcome.reason)
        origin = _origin(ask, outcome)
        if outcome.status != "ok":
            row = {"request": ask.id, "status": outcome.status, "reason": outcome.reason}
            rejects.write(to_line(row | {"synthesis": origin}))
            return
        for candidate in method.read(ask, outcome):
            status, reason = self._verdict(candidate, ask, pool)
            self.verdicts[status] += 1
            if status != "ok":
                row = {"prompt": candidate.text, "status": status, "reason": reason}
                rejects.write(to_line(row | {"synthesis": origin}))
                continue
            identifier = f"prompt-{self.accepted:06d}"
            method.accepted(ask, pool.add(identifier, candidate.text, ask.system))
            output.write(to_line(_row(identifier, self.config.task, candidate, origin)))

    def _verdict(self, candidate: Candidate, ask: Ask, pool: Pool) -> tuple[str, str]:
        if self.accepted >= self.settings.rows:
            return "surplus", "all rows are there"
        for text in candidate.written:
            if problem := why_not(text, self.settings.max_words):
                return "unfit", problem
        if like := pool.too_like(candidate.text, ask.parent):
            return "similar", f"{like.similarity:.2f} like {like.id}"
        return "ok", ""

    def _summary(self, stopped: str, rounds: int) -> dict[str, Any]:
        """`found` is the sum of accepted and rejected."""
        rejected = {status: n for status, n in sorted(self.verdicts.items()) if status != "ok"}
        return {
            "wanted": self.settings.rows,
            "found": self.verdicts.total(),
            "accepted": self.accepted,
            "rejected": rejected,
            "rounds": rounds,
            "stopped": stopped,
        }


class _View(LiveView):
    """What counts here are prompts, not requests."""

    def _done(self) -> int:
        return self.counts["ok"]


def _plain(config: Config) -> Config:
    """Prompts are texts: nothing of how answers are put and judged holds for them."""
    kept = config.generate.model_dump(include={"user_model", "turns", "longer_once"})
    generate = GenerateConfig(**kept)
    return config.model_copy(update={"task": "generic", "ensemble": None, "generate": generate})


def _add_seeds(config: Config, settings: PromptsConfig, pool: Pool) -> int:
    """Into the pool; how many they are."""
    if settings.seeds is None:
        return 0
    for record in open_dataset(settings.seeds, task=config.task, split="seed"):
        first = record.messages[0]
        system = first.content if first.role == "system" else settings.system or ""
        asked = [message.content for message in record.messages if message.role == "user"]
        pool.add(record.id, asked[-1], system)
    return pool.size


def _origin(ask: Ask, outcome: Outcome) -> Json:
    """Where a prompt comes from: the method's facts, and whose answer it was."""
    if outcome.completion is None:
        return ask.facts
    return ask.facts | {
        "teacher": outcome.completion.model,
        "request_key": outcome.request_key,
    }


def _row(identifier: str, task: str, candidate: Candidate, origin: Json) -> Json:
    return {
        "id": identifier,
        "task": task,
        "messages": [message.to_json() for message in candidate.messages],
        "metadata": {"synthesis": origin},
    }
