"""A few rows really asked, before many are: how long answers are, how fast they come, their price.

The answers of served teachers go into the answer store, so what the probe buys is not bought
again. Those of models on this machine cost nothing and are thrown away: what such a model answers
depends in its last bits on the rows of its batch, and those of a probe are not those of the run.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from mwalimu.data.record import Record
from mwalimu.estimate.plan import Place, Plan
from mwalimu.progress import Progress
from mwalimu.synthesis.answer import Member, Row
from mwalimu.synthesis.ask import Answer, Asker
from mwalimu.synthesis.durability import Durability
from mwalimu.synthesis.engine import Engine, Item, Program
from mwalimu.synthesis.job import Job
from mwalimu.synthesis.masking import build_asker
from mwalimu.synthesis.opening import open_job
from mwalimu.synthesis.store import AnswerStore
from mwalimu.synthesis.verdict import Outcome
from mwalimu.teachers.base import Completion, RateLimits, Reply, Request, Teacher


@dataclass(slots=True)
class Asked:
    """What one row took at one place. `timed` are the requests of which `seconds` are known."""

    requests: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    timed: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Probe:
    """`asked` is by place and row id; `limits` are those that a server told, by place.

    `usd` is None where a price is unknown.
    """

    rows: list[Record]
    outcomes: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    reused: int = 0
    tokens: int = 0
    usd: float | None = 0.0
    asked: dict[str, dict[str, Asked]] = field(default_factory=dict)
    limits: dict[str, RateLimits] = field(default_factory=dict)


def run_probe(
    plan: Plan, store: Path, run_id: str, rows: list[Record], on_progress: Progress
) -> Probe:
    """Asks the first draw of every row, on the account of `run_id`.

    Raises:
        TeacherError, BudgetReached, RunError: as stage 1 would; what was bought is in the store.
    """
    probe = Probe(rows)
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(_probe(probe, plan, store, run_id, Path(scratch), on_progress))
    return probe


async def _probe(
    probe: Probe, plan: Plan, store: Path, run_id: str, scratch: Path, on_progress: Progress
) -> None:
    async with AsyncExitStack() as stack:
        aside = stack.enter_context(AnswerStore(scratch / "aside"))
        folder = store if plan.is_served else scratch / "answers"
        job = await stack.enter_async_context(open_job(plan.config, folder, run_id))
        watch = _Watch(probe, plan, job, aside)
        async for outcome in watch.engine().run(map(Item, probe.rows)):
            probe.outcomes[outcome.status] += 1
            on_progress("probe", probe.outcomes.total(), len(probe.rows), "")
        watch.close()


class _Watch:
    """Gives every place of the job an asker of its own, so that what it takes can be told."""

    def __init__(self, probe: Probe, plan: Plan, job: Job, aside: AnswerStore) -> None:
        self.probe, self.plan, self.job = probe, plan, job
        self._aside = aside
        self._clocks: dict[Asker, _Clock] = {}
        self._keys: dict[Asker, str] = {}
        self._before = (*job.budget.spent, job.budget.unpriced)
        user = job.user or job.members[0]
        job.askers.clear()
        for number, (place, member) in enumerate(zip(plan.members, job.members, strict=True)):
            job.members[number] = self._own(place, member)
        if plan.judge and job.judge:
            job.judge = self._own(plan.judge, job.judge)
        if plan.user:
            job.user = self._own(plan.user, user)

    def engine(self) -> Engine:
        """The job's own, whose requests are noted; every teacher's where one will be chosen."""
        engine = self.job.engine() if not self.plan.chooses_one else None
        programs = [engine.program] if engine else [*map(self._alone, self.job.members)]

        async def watched(row: Row) -> Outcome:
            row = replace(row, ask=self._noting(row))
            outcomes = [await program(row) for program in programs]
            return outcomes[0]

        return self.job.engine(watched)

    def close(self) -> None:
        """Adds up what the probe took."""
        for asker, clock in self._clocks.items():
            self.probe.sent += asker.calls.sent
            self.probe.reused += asker.calls.reused
            if clock.limits is not None:
                self.probe.limits[self._keys[asker]] = clock.limits
        budget = self.job.budget
        after = (*budget.spent, budget.unpriced)
        nano, self.probe.tokens, _, unpriced = (
            now - was for now, was in zip(after, self._before, strict=True)
        )
        self.probe.usd = None if unpriced else nano / 1e9

    def _own(self, place: Place, member: Member) -> Member:
        teacher = member.asker.teacher
        clock = _Clock(getattr(teacher, "unobserved", teacher))  # its own door observes it
        aside = clock.batch_size > 1
        durability = _Scratch(self._aside) if aside else self.job.durability
        asker = build_asker(self.job.config, clock, member.config, durability, self.job.budget)
        self._clocks[asker], self._keys[asker] = clock, place.key
        self.job.askers[place.key, None] = asker
        self.probe.asked[place.key] = {}
        return replace(member, asker=asker)

    def _alone(self, member: Member) -> Program:
        """How the job would go if `member` were the only teacher."""
        config = self.job.config.model_copy(update={"ensemble": None})
        return replace(self.job, config=config, members=[member]).engine().program

    def _noting(self, row: Row) -> Callable[[Asker, Request], Awaitable[Answer]]:
        async def ask(asker: Asker, request: Request) -> Answer:
            answer = await row.ask(asker, request)
            self._note(row.record.id, asker, request, answer.completion)
            return answer

        return ask

    def _note(
        self, row_id: str, asker: Asker, request: Request, completion: Completion | None
    ) -> None:
        asked = self.probe.asked[self._keys[asker]].setdefault(row_id, Asked())
        asked.requests += 1
        if completion is not None:
            asked.prompt_tokens += completion.usage.prompt_tokens
            asked.answer_tokens += completion.usage.completion_tokens
        if (seconds := self._clocks[asker].seconds.get(request.key)) is not None:
            asked.timed += 1
            asked.seconds += seconds


class _Scratch(Durability):
    """Of a store that is thrown away after the probe."""

    def written(self) -> None:
        pass


class _Clock:
    """A teacher whose answers are timed; of a batch every request has its share."""

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher
        self.info = teacher.info
        self.capabilities = teacher.capabilities
        self.batch_size = teacher.batch_size
        self.concurrency = teacher.concurrency
        self.seconds: dict[str, float] = {}
        self.limits: RateLimits | None = None

    async def check(self) -> None:
        await self.teacher.check()

    async def send(self, requests: Sequence[Request]) -> Sequence[Reply]:
        began = time.monotonic()
        replies = await self.teacher.send(requests)
        each = (time.monotonic() - began) / len(requests)
        self.seconds |= {request.key: each for request in requests}
        self.limits = replies[-1].limits or self.limits
        return replies

    def parse(self, raw: bytes) -> Completion:
        return self.teacher.parse(raw)

    async def close(self) -> None:
        await self.teacher.close()
