"""What all strategies share: asking several teachers at once, and telling what became of it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from mwalimu.data.record import Message, Record
from mwalimu.synthesis.answer import Row, answer_once
from mwalimu.synthesis.job import Job
from mwalimu.synthesis.verdict import Outcome


@dataclass(frozen=True, slots=True)
class Question:
    """What an `Answerer` was called with; `sample` is the number of the draw."""

    row: Row
    messages: tuple[Message, ...] | None
    sample: int

    @property
    def record(self) -> Record:
        return self.row.record

    @property
    def conversation(self) -> tuple[Message, ...]:
        return self.record.messages if self.messages is None else self.messages


class Asked(NamedTuple):
    """The number of a member and what it made of the question."""

    member: int
    outcome: Outcome

    @property
    def ok(self) -> bool:
        return self.outcome.status == "ok"


@dataclass(frozen=True, slots=True)
class Choice:
    """Whose answer is taken: an index into `asked`, None where none is; `facts` tell why."""

    asked: Sequence[Asked]
    taken: int | None
    facts: dict[str, Any] = field(default_factory=dict)


class Ensemble(ABC):
    """An `Answerer` of several members."""

    def __init__(self, job: Job) -> None:
        assert job.config.ensemble is not None
        self.job = job
        self.settings = job.config.ensemble
        self.prompting = job.prompting
        self.members = list(job.members)
        self.names = distinct([member.name for member in job.members])
        self._taken: Counter[str] = Counter()

    async def __call__(
        self, row: Row, *, messages: tuple[Message, ...] | None = None, sample: int | None = None
    ) -> Outcome:
        """The outcome of the member whose answer is taken, with all that were asked told.

        Where no answer is taken it is that of the first member without one, with all reasons.
        """
        question = Question(row, messages, row.sample if sample is None else sample)
        choice = await self.choose(question)
        told = self._told(choice)
        if choice.taken is not None:
            member, outcome = choice.asked[choice.taken]
            self._taken[self.names[member]] += 1
            return replace(outcome, provenance=told)
        first = next(asked.outcome for asked in choice.asked if not asked.ok)
        return replace(first, reason=self._reasons(choice.asked), provenance=told)

    # Most have nothing to learn.
    async def prepare(self, records: Iterable[Record]) -> None:  # noqa: B027
        """Learns what has to be known before the first row; `records` are those to validate on.

        Raises:
            ConfigError: they do not tell what has to be known.
        """

    def notes(self) -> dict[str, Any]:
        """What the ledger says of it: whose answers were taken, and how often."""
        return {"strategy": self.settings.strategy, "taken": dict(sorted(self._taken.items()))}

    @abstractmethod
    async def choose(self, question: Question) -> Choice:
        """Asks whom the strategy asks; at least one."""

    async def ask(self, question: Question, member: int, sample: int | None = None) -> Outcome:
        return await answer_once(
            question.row,
            self.members[member],
            self.prompting,
            messages=question.messages,
            sample=question.sample if sample is None else sample,
        )

    async def ask_all(self, question: Question) -> list[Asked]:
        return await self.ask_each(
            question, [(member, question.sample) for member in range(len(self.members))]
        )

    async def ask_each(self, question: Question, asks: Sequence[tuple[int, int]]) -> list[Asked]:
        """Asks these (member, sample) at once; the answers in their order.

        Local teachers are asked one after another: a row that waits for one local answer at a time
        leaves no room for chance in which round of its group (`rounds.py`) it takes part.
        """
        found: dict[int, Outcome] = {}

        async def in_turn(numbers: Iterable[int]) -> None:
            for number in numbers:
                found[number] = await self.ask(question, *asks[number])

        local = [n for n, (member, _) in enumerate(asks) if self.is_local(member)]
        served = [n for n in range(len(asks)) if n not in local]
        await together([in_turn(local), *(in_turn([number]) for number in served)])
        return [Asked(member, found[n]) for n, (member, _) in enumerate(asks)]

    def is_local(self, member: int) -> bool:
        return self.members[member].asker.teacher.batch_size > 1

    def _told(self, choice: Choice) -> dict[str, Any]:
        """Nothing here may depend on the life of the run: it goes into the data set's bytes."""
        asked = [
            {
                "model": self.names[member],
                "status": outcome.status,
                "request_key": outcome.request_key,
            }
            for member, outcome in choice.asked
        ]
        return {"strategy": self.settings.strategy, "asked": asked} | choice.facts

    def _reasons(self, asked: Sequence[Asked]) -> str:
        if len(asked) == 1:
            return asked[0].outcome.reason
        parts = [
            f"{self.names[member]}: {outcome.status}"
            + (f" ({outcome.reason})" if outcome.reason else "")
            for member, outcome in asked
        ]
        return "; ".join(parts)


def distinct(names: Sequence[str]) -> list[str]:
    """The same model may be a member twice, say at another temperature: then `name (2)`."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


async def together(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """All at once; where one fails the others are stopped before its error goes on.

    `gather` alone would leave them buying answers for a row that has ended.
    """
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
