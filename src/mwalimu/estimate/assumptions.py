"""Rates without a probe: prompts are counted, the rest is assumed, and every assumption is told."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Message, Record
from mwalimu.estimate.plan import ON_MACHINE, Place, Plan
from mwalimu.estimate.rates import Rates
from mwalimu.estimate.spans import NOTHING, ONE, Span, rate, total
from mwalimu.estimate.survey import Survey
from mwalimu.estimate.tokens import TURN_TOKENS, Counter, size_of, teacher_counter
from mwalimu.synthesis.conversation import OPEN, PLAY_THE_USER, is_text
from mwalimu.synthesis.ensemble.judging import INSTRUCTIONS

ABOUT = Span(1.0, 0.5, 2.0)  # what is like something that is known
CUT = Span(0.0, 0.0, 0.1)  # the share of answers that do not end within max_tokens
VERDICT = Span(100, 20, 300)  # tokens of a judge's reasons, "a few sentences"
FIRST_TOKEN_S = Span(0.5, 0.25, 1.0)
TOKEN_S = Span(1 / 50, 1 / 100, 1 / 25)
TIME = "assumed: 0.5 s to the first token, then 50 tokens/s, half to double; --probe measures it"


class Assumptions:
    """`survey` is of the stage of `plan`, whose sample is counted."""

    def __init__(self, plan: Plan, survey: Survey) -> None:
        self.plan = plan
        self.sample = survey.sample
        self.population = survey.draws // plan.config.generate.samples
        self.cut = CUT if plan.config.generate.longer_once > 1 else NOTHING
        self._counted: dict[str, Span] = {}

    def of(self, place: Place) -> Rates:
        if place.number is not None:
            return self._member(place)
        return self._judge(place) if place is self.plan.judge else self._user(place)

    def counter(self, place: Place) -> Counter:
        return teacher_counter(place.teacher, self.plan.config.student.model)

    def counted(self, place: Place) -> Span:
        """Tokens, the template's among them, for a byte of the prompts as `place` sees them."""
        if place.key not in self._counted:
            counter, tokens, sizes = self.counter(place), list[float](), list[float]()
            for record in self.sample:
                shown = self.plan.shown(place, record)
                tokens.append(sum(counter.chat(question, record.tools) for question in shown))
                sizes.append(sum(size_of(question, record.tools) for question in shown))
            self._counted[place.key] = rate(tokens, sizes, self.population)
        return self._counted[place.key]

    def prompt_a_byte(self, place: Place) -> Span:
        return self.counted(place) * self.counter(place).factor

    def answer(self, place: Place) -> tuple[Span, str]:
        """Tokens of one answer, and how they are known."""
        limit, counter = place.teacher.max_tokens, self.counter(place)
        settings = self.plan.config.generate
        if settings.chain_of_thought or settings.chain_of_density:
            return Span(limit, 1, limit), f"at most max_tokens {limit}: the reasoning is not known"
        gold = [counter.text(text) for record in self.sample for text in self._gold(record)]
        if not gold:
            return Span(limit, 1, limit), f"at most max_tokens {limit}; --probe measures them"
        note = "as long as the gold answers, x0.5 to x2; hidden thinking would come on top"
        return (counter.factor * ABOUT * fmean(gold)).capped(limit), note

    def _member(self, place: Place) -> Rates:
        answer, note = self.answer(place)
        many = place.share * self.plan.turns
        again = ONE + self.cut
        limit = place.teacher.max_tokens * self.plan.config.generate.longer_once
        grown = _steps(self.plan.turns) * (answer + self._user_turn(place))
        return Rates(
            requests=many * again,
            prompt_a_byte=self.prompt_a_byte(place) * many * again,
            prompt_more=grown * place.share * again,
            answers=many * (answer + self.cut * limit),
            answer=answer,
            seconds=seconds_of(place.teacher, many * again, many * (answer + self.cut * limit)),
            basis=self._basis(place, note),
        )

    def _judge(self, place: Place) -> Rates:
        """It reads the conversation and all answers to it."""
        many = place.share * self.plan.turns
        asked = [self.answer(member)[0] for member in self.plan.members]
        own = Span.exactly(self.counter(place).text(INSTRUCTIONS) + 3 * TURN_TOKENS)
        verdict = VERDICT.capped(place.teacher.max_tokens)
        grown = _steps(self.plan.turns) * (asked[0] + self._user_turn(place))
        return Rates(
            requests=many,
            prompt_a_byte=self.prompt_a_byte(place) * many,
            prompt_more=many * (own + total(asked)) + grown * place.share,
            answers=many * verdict,
            answer=verdict,
            seconds=seconds_of(place.teacher, many, many * verdict),
            basis=self._basis(place, "a verdict of about 100 tokens (20 to 300)"),
        )

    def _user(self, place: Place) -> Rates:
        """The user says something between the teacher's turns, and reads all that was said."""
        turns = self.plan.turns
        many = turns.mapped(lambda turn: turn - 1)
        counter = self.counter(place)
        own = Span.exactly(counter.text(PLAY_THE_USER) + counter.text(OPEN) + 2 * TURN_TOKENS)
        said = self._user_turn(place)
        heard = _steps(turns) * self.answer(self.plan.members[0])[0]
        return Rates(
            requests=many,
            prompt_a_byte=self.prompt_a_byte(place) * many,
            prompt_more=many * own + heard + _steps(many) * said,
            answers=many * said,
            answer=said,
            seconds=seconds_of(place.teacher, many, many * said),
            basis=self._basis(place, "as long as the rows' first user turns, x0.5 to x2"),
        )

    def _basis(self, place: Place, answer: str) -> dict[str, str]:
        settings = self.plan.config.generate
        requests = [place.why] if place.why else []
        if self.plan.user is not None:
            requests.append(f"1 to {settings.turns} turns a row")
        if place.number is not None and self.cut is CUT:
            requests.append("0 to 10 % of the answers cut and asked again")
        spread = self.counted(place)
        counted = f"counted on {len(self.sample):,} rows"
        if self.population > len(self.sample):
            counted += f", +/- {(spread.high - spread.mid) / spread.mid:.1%}"
        return {
            "requests": "; ".join(requests),
            "prompt": f"{self.counter(place).basis}; {counted}",
            "answer": answer,
            "time": time_basis(place.teacher),
        }

    def _gold(self, record: Record) -> Iterable[str]:
        if record.reference is not None:
            yield record.reference
        if self.plan.config.generate.conversation == "relabel":
            yield from (m.content for m in record.messages if is_text(m))

    def _user_turn(self, place: Place) -> Span:
        """Tokens of what a played user says; nothing where nobody plays one."""
        if self.plan.user is None:
            return NOTHING
        said = [message for record in self.sample for message in _first_said(record)]
        if not said:
            return NOTHING
        tokens = fmean(self.counter(place).text(message.content) for message in said) + TURN_TOKENS
        return (ABOUT * tokens).capped(self.plan.user.teacher.max_tokens)


def _first_said(record: Record) -> list[Message]:
    return [message for message in record.messages if message.role == "user"][:1]


def _steps(turns: Span) -> Span:
    """How often something said stands in the prompts of later turns, summed over all turns."""
    return turns.mapped(lambda turn: turn * (turn - 1) / 2)


def seconds_of(teacher: TeacherConfig, requests: Span, answers: Span) -> Span | None:
    """In a row, without a probe; None for a model on this machine, of which nothing is known."""
    if teacher.resolved_kind in ON_MACHINE:
        return None
    if teacher.resolved_kind == "fake":
        return NOTHING
    return requests * FIRST_TOKEN_S + answers * TOKEN_S


def time_basis(teacher: TeacherConfig) -> str:
    """How `seconds_of` is known."""
    if teacher.resolved_kind == "fake":
        return "it answers at once"
    return "--probe measures it" if teacher.resolved_kind in ON_MACHINE else TIME
