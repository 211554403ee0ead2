"""Cheap teachers first: a dearer one is asked where a cheap one's answer is in doubt.

A cascade as in Chen et al. 2023, "FrugalGPT"; doubt is disagreement between draws (Yue et al. 2024,
"Large Language Model Cascades with Mixture of Thought Representations") or a low probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from mwalimu.errors import ConfigError
from mwalimu.synthesis.answer import Member
from mwalimu.synthesis.ensemble.agreement import FREE_TEXT, same
from mwalimu.synthesis.ensemble.base import Asked, Choice, Ensemble, Question
from mwalimu.synthesis.job import Job
from mwalimu.teachers.base import Completion


class Route(Ensemble):
    """Every member but the last is put to the test; the last one's answer is taken as it is.

    The draws of a member have to agree, and with `min_confidence` the first of them has to be
    that probable. One draw is enough where more would be the same (temperature 0) or never agree
    (free text).
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.draws = self.settings.draws
        self.min_confidence = self.settings.min_confidence
        if self.min_confidence == 0:
            self._require_agreement(job.config.task)
        else:
            *tested, last = self.members
            self.members = [*(self._telling(n, member) for n, member in enumerate(tested)), last]

    async def choose(self, question: Question) -> Choice:
        asked: list[Asked] = []
        because: list[str] = []
        for member in range(len(self.members) - 1):
            draws = await self._draw(question, member)
            doubt = self._doubt(question.record.task, draws)
            asked += draws
            if not doubt:
                return Choice(asked, len(asked) - len(draws), _facts(because))
            because.append(doubt)
        last = len(self.members) - 1
        asked.append(Asked(last, await self.ask(question, last)))
        return Choice(asked, len(asked) - 1 if asked[-1].ok else None, _facts(because))

    async def _draw(self, question: Question, member: int) -> list[Asked]:
        """None where nothing could come of it."""
        free = question.record.task in FREE_TEXT
        if free and self.min_confidence == 0:
            return []
        same_again = free or self.members[member].sampling.temperature == 0
        numbers = range(1 if same_again else self.draws)
        # Numbers that no other sample of the row uses.
        samples = [question.sample * self.draws + number for number in numbers]
        return await self.ask_each(question, [(member, sample) for sample in samples])

    def _doubt(self, task: str, draws: Sequence[Asked]) -> str:
        """Why the first draw cannot be taken; empty where it can."""
        if not draws:
            return f"answers of task {task} cannot be compared"
        for draw in draws:
            if not draw.ok:
                return draw.outcome.status
        if len({same(draw.outcome, self.prompting) for draw in draws}) > 1:
            return "the draws disagree"
        if self.min_confidence == 0:
            return ""
        confidence = confidence_of(draws[0].outcome.completion)
        if confidence is None:
            return "no log-probabilities came"
        if confidence >= self.min_confidence:
            return ""
        return f"confidence {confidence:.4f}"

    def _require_agreement(self, task: str) -> None:
        """The draws are all there is to go by, so they have to be able to agree and to differ."""
        if task in FREE_TEXT:
            raise ConfigError(
                f"answers of task {task} never agree word for word",
                where="ensemble.draws",
                fix="set ensemble.min_confidence, or take another strategy",
            )
        if self.draws == 1:
            raise ConfigError(
                "one draw without a min_confidence leaves nothing to doubt",
                where="ensemble.draws",
                fix="raise it, set ensemble.min_confidence, or take strategy fallback",
            )
        for number, member in enumerate(self.members[:-1]):
            if member.sampling.temperature == 0:
                raise ConfigError(
                    "at temperature 0 all draws are the same",
                    where=f"{_place(number)}.temperature",
                    fix="set it, say to 0.7, or set ensemble.min_confidence",
                )

    @staticmethod
    def _telling(number: int, member: Member) -> Member:
        """The member, asked for the probabilities of its tokens too."""
        if not member.asker.teacher.capabilities.top_logprobs:
            raise ConfigError(
                f"{member.name} reports no log-probabilities",
                where="ensemble.min_confidence",
                fix=f"drop it and use draws, or take another {_place(number)}",
            )
        sampling = replace(member.sampling, top_logprobs=max(1, member.sampling.top_logprobs))
        return replace(member, sampling=sampling)


def confidence_of(completion: Completion | None) -> float | None:
    """The geometric mean of the tokens' probabilities, in 0..1; None where they are unknown."""
    if completion is None or not completion.logprobs:
        return None
    total = math.fsum(token.logprob for token in completion.logprobs)
    return math.exp(total / len(completion.logprobs))


def _facts(because: list[str]) -> dict[str, list[str]]:
    return {"escalated_because": because} if because else {}


def _place(number: int) -> str:
    return "teacher" if number == 0 else f"ensemble.others.{number - 1}"
