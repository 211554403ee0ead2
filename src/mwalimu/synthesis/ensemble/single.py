"""Strategies that want one teacher's answer: shares of the rows, or the first that has one."""

from __future__ import annotations

import math
from hashlib import sha256

from mwalimu.errors import ConfigError, TeacherUnreachable
from mwalimu.synthesis.ensemble.base import Asked, Choice, Ensemble, Question
from mwalimu.synthesis.job import Job
from mwalimu.synthesis.verdict import Outcome


class Mix(Ensemble):
    """Each row goes to one member, by its id, in shares of `weights`; equal ones if unset."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.weights = self.settings.weights or (1.0,) * len(self.members)
        usable = all(0 <= weight < math.inf for weight in self.weights)
        if not usable or not 0 < sum(self.weights) < math.inf:
            raise ConfigError(
                f"{list(self.weights)} are no shares",
                where="ensemble.weights",
                fix="give a share of 0 or more for every teacher, not all 0",
            )

    async def choose(self, question: Question) -> Choice:
        member = share_of(question.record.id, self.weights)
        return _of([Asked(member, await self.ask(question, member))])


def share_of(row_id: str, weights: tuple[float, ...]) -> int:
    """The member whose share of [0, sum of weights) the row's place falls into."""
    place = int.from_bytes(sha256(row_id.encode()).digest()[:6]) / 2**48 * sum(weights)
    member = max(index for index, weight in enumerate(weights) if weight)  # rounding ends there
    for index, weight in enumerate(weights):
        if place < weight:
            return index
        place -= weight
    return member


class Fallback(Ensemble):
    """The first member, in order, whose outcome is ok.

    One that is found unreachable is left out for the rest of this life, so that a run outlives its
    first teacher; only where the last is away does it end.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._away: dict[int, str] = {}

    async def choose(self, question: Question) -> Choice:
        asked: list[Asked] = []
        for member in range(len(self.members)):
            asked.append(Asked(member, await self._try(question, member)))
            if asked[-1].ok:
                break
        return _of(asked)

    async def _try(self, question: Question, member: int) -> Outcome:
        if member not in self._away:
            try:
                return await self.ask(question, member)
            except TeacherUnreachable as error:
                if member == len(self.members) - 1:
                    raise
                self._away[member] = error.what
        return Outcome(question.record, "failed", self._away[member])


def _of(asked: list[Asked]) -> Choice:
    """The last one asked, if it is ok."""
    return Choice(asked, len(asked) - 1 if asked[-1].ok else None)
