"""Who is asked what: the teachers in their places in the config, and their questions for a row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import cast

from mwalimu.config import Config, EnsembleConfig, TeacherConfig
from mwalimu.data.record import Message, Record
from mwalimu.estimate.spans import ONE, Span
from mwalimu.estimate.tokens import size_of
from mwalimu.synthesis.answer import Member, first_request
from mwalimu.synthesis.ask import Asker
from mwalimu.synthesis.conversation import SUITED, is_text, opening, require_suited
from mwalimu.synthesis.ensemble.agreement import FREE_TEXT
from mwalimu.synthesis.ensemble.single import share_of
from mwalimu.synthesis.masking import outgoing
from mwalimu.synthesis.prompting import Prompting
from mwalimu.teachers.base import Sampling
from mwalimu.teachers.factory import build_teacher

ON_MACHINE = {"local", "vllm"}
SOMETIMES = Span(0.5, 0.0, 1.0)
SELDOM = Span(0.0, 0.0, 1.0)

Messages = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A teacher where the config names it, as in `ensemble.others.0`.

    `number` is that of a member, None for who helps: the judge, the user model. Of the requests
    that are planned for it `share` will be made; `why` says on what that depends.
    """

    key: str
    teacher: TeacherConfig
    number: int | None = None
    share: Span = ONE
    why: str = ""


@dataclass(slots=True)
class Portion:
    """Requests, and the bytes of their prompts."""

    requests: float = 0
    size: float = 0

    def add(self, other: Portion, times: int = 1) -> None:
        self.requests += other.requests * times
        self.size += other.size * times


@dataclass(frozen=True, slots=True)
class Weighed:
    """A row's conversations to be answered, with the bytes of each."""

    record: Record
    questions: list[Messages]
    sizes: list[int]

    @classmethod
    def of(cls, plan: Plan, record: Record) -> Weighed:
        questions = plan.questions(record)
        return cls(record, questions, [size_of(one, record.tools) for one in questions])


class Plan:
    """The questions of one stage, under its config. Raises ConfigError where that has none."""

    def __init__(self, config: Config) -> None:
        require_suited(config)
        self.config = config
        self.prompting = Prompting(config.generate, config.task)
        self.members = _members(config)
        self.judge = _judge(config)
        self.user = _user(config)
        self.places = [*self.members, *filter(None, (self.judge, self.user))]
        self._asked: dict[str, Member] = {}

    @property
    def chooses_one(self) -> bool:
        """All rows go to one member, and nobody knows yet to which."""
        return self.config.ensemble is not None and self.config.ensemble.strategy == "best"

    @property
    def is_served(self) -> bool:
        """Whether any answer comes from elsewhere than a model on this machine."""
        return any(place.teacher.resolved_kind not in ON_MACHINE for place in self.places)

    @property
    def turns(self) -> Span:
        """Answers of the teacher to one planned request."""
        if self.user is None:
            return ONE
        return Span(self.config.generate.turns, 1, self.config.generate.turns)

    def questions(self, record: Record) -> list[Messages]:
        """The conversations to be answered, as the user wrote them; at least one."""
        mode = self.config.generate.conversation
        if mode == "last" or record.task not in SUITED:
            return [record.messages]
        if mode == "simulate":
            return [tuple(opening(record.messages)) or record.messages]
        turns = [i for i, m in enumerate(record.messages) if is_text(m)]
        return [*(record.messages[:i] for i in turns), record.messages]

    def shown(self, place: Place, record: Record) -> list[Messages]:
        """The questions as a member sees them; a helper's own words are counted elsewhere."""
        return self._seen_by(place, record, self.questions(record))

    def _seen_by(self, place: Place, record: Record, questions: list[Messages]) -> list[Messages]:
        if place.number is None:
            return questions
        return [self.prompting.question(record, question) for question in questions]

    def one(self, place: Place, row: Weighed) -> Portion:
        """What one draw of one row puts to `place`."""
        shown = self._seen_by(place, row.record, row.questions)
        pairs = zip(shown, row.questions, row.sizes, strict=True)
        tools = row.record.tools
        sizes = (size if seen is own else size_of(seen, tools) for seen, own, size in pairs)
        return Portion(len(shown), sum(sizes))

    def draws(self, place: Place, record: Record, sample: int) -> range:
        """The numbers under which `place` is asked for the row's `sample`."""
        once = range(sample, sample + 1)
        ensemble = self.config.ensemble
        if ensemble is None or place.number is None:
            return once
        if ensemble.strategy == "mix":
            shares = ensemble.weights or (1.0,) * len(self.members)
            row_id = record.id if sample == 0 else f"{record.id}#{sample}"
            return once if share_of(row_id, shares) == place.number else range(0)
        if ensemble.strategy == "route" and place.number < len(self.members) - 1:
            return _tested_draws(ensemble, place.teacher, record.task, sample)
        return once

    def first_key(self, place: Place, record: Record, number: int) -> str:
        """Under which the answer to the first question is stored."""
        member = self._asked.get(place.key)
        if member is None:
            member = self._asked[place.key] = self._member(place)
        question = self.questions(record)[0]
        request = first_request(record, number, member, self.prompting, messages=question)
        return outgoing(self.config, place.teacher, request).key

    def _member(self, place: Place) -> Member:
        """Nobody is asked through it: it lends its name and its sampling to a request."""
        asker = SimpleNamespace(teacher=build_teacher(place.teacher))
        return Member(cast(Asker, asker), place.teacher, self._sampling(place))

    def _sampling(self, place: Place) -> Sampling:
        ensemble = self.config.ensemble
        sampling = Sampling.of(place.teacher, self.config.seed)
        tested = place.number is not None and place.number < len(self.members) - 1
        if ensemble and ensemble.strategy == "route" and ensemble.min_confidence and tested:
            return replace(sampling, top_logprobs=max(1, sampling.top_logprobs))
        return sampling


def _members(config: Config) -> list[Place]:
    if config.ensemble is None:
        return [Place("teacher", config.teacher, 0)]
    strategy = config.ensemble.strategy
    places = [Place("teacher", config.teacher, 0)]
    for number, teacher in enumerate(config.ensemble.others):
        share, why = ONE, ""
        if strategy == "fallback":
            share, why = SELDOM, "asked where all before it fail"
        elif strategy == "route":
            share, why = SOMETIMES, "asked where all before it are in doubt: half of the rows, 0-1"
        places.append(Place(f"ensemble.others.{number}", teacher, number + 1, share, why))
    return places


def _judge(config: Config) -> Place | None:
    ensemble = config.ensemble
    if ensemble is None or ensemble.judge is None:
        return None
    judged = ensemble.strategy == "judge"
    judged |= ensemble.strategy == "vote" and config.task in FREE_TEXT
    share = Span(1.0, 0.0, 1.0)
    why = "asked unless fewer than two answers differ"
    return Place("ensemble.judge", ensemble.judge, None, share, why) if judged else None


def _user(config: Config) -> Place | None:
    settings = config.generate
    if settings.conversation != "simulate" or config.task not in SUITED or settings.turns == 1:
        return None
    return Place("generate.user_model", settings.user_model or config.teacher)


def _tested_draws(
    ensemble: EnsembleConfig, teacher: TeacherConfig, task: str, sample: int
) -> range:
    """Draws that agree tell something only where they can differ, and be compared."""
    if task in FREE_TEXT and ensemble.min_confidence == 0:
        return range(0)
    first = sample * ensemble.draws
    alike = task in FREE_TEXT or teacher.temperature == 0
    return range(first, first + (1 if alike else ensemble.draws))
