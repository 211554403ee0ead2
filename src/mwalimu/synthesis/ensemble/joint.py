"""Strategies that ask every teacher: the most frequent answer, or the one that a judge chooses."""

from __future__ import annotations

from collections.abc import Hashable

from mwalimu.errors import ConfigError
from mwalimu.synthesis.ensemble.agreement import FREE_TEXT, same
from mwalimu.synthesis.ensemble.base import Choice, Ensemble, Question
from mwalimu.synthesis.ensemble.judging import Judging
from mwalimu.synthesis.job import Job


class Vote(Ensemble):
    """The answer that most members gave, in the words of the earliest of them; ties to the earlier.

    After Wang et al. 2023, "Self-Consistency Improves Chain of Thought Reasoning", over members
    instead of draws. `agreement` is the share of all members that gave the answer: one that
    failed did not agree. Free texts are never the same, so a judge decides about them if there is
    one, else the first member does.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.judging = Judging(job.judge) if job.judge else None
        if self.judging is None and job.config.task in FREE_TEXT:
            raise ConfigError(
                f"there is no majority among answers of task {job.config.task}",
                where="ensemble.strategy",
                fix="set ensemble.judge, or take another strategy",
            )

    async def choose(self, question: Question) -> Choice:
        asked = await self.ask_all(question)
        if question.record.task in FREE_TEXT:
            if self.judging is not None:
                return await self.judging.choose(question, asked, self.names)
            first = next((index for index, one in enumerate(asked) if one.ok), None)
            return Choice(asked, first, {"agreement": None})
        votes: dict[Hashable, list[int]] = {}
        for index, one in enumerate(asked):
            if one.ok:
                votes.setdefault(same(one.outcome, self.prompting), []).append(index)
        if not votes:
            return Choice(asked, None)
        # Of equal lists the first is taken, and they stand in the order of their first members.
        most = max(votes.values(), key=len)
        return Choice(asked, most[0], {"agreement": round(len(most) / len(asked), 4)})


class Judged(Ensemble):
    """The answer that the judge finds best."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        assert job.judge is not None
        self.judging = Judging(job.judge)

    async def choose(self, question: Question) -> Choice:
        return await self.judging.choose(question, await self.ask_all(question), self.names)
