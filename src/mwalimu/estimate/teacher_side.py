"""What the teachers of a stage will take, at their prices, less what the answer store has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mwalimu.config import TeacherConfig
from mwalimu.estimate.plan import ON_MACHINE, Place, Plan
from mwalimu.estimate.rates import Rates
from mwalimu.estimate.spans import NOTHING, ONE, Span, one_of, slowest_of, total
from mwalimu.estimate.survey import Survey
from mwalimu.synthesis.batches.intake import batch_prices
from mwalimu.synthesis.budget import Prices
from mwalimu.teachers.base import RateLimits, Usage


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the requests still to be made. None is unknown, which is not nothing.

    `minutes` are from the first to the last request, with `teacher.concurrency` at once.
    """

    requests: Span = NOTHING
    prompt_tokens: Span = NOTHING
    answer_tokens: Span = NOTHING
    usd: Span | None = NOTHING
    minutes: Span | None = NOTHING

    def __mul__(self, share: float) -> Cost:
        return Cost(
            self.requests * share,
            self.prompt_tokens * share,
            self.answer_tokens * share,
            None if self.usd is None else self.usd * share,
            None if self.minutes is None else self.minutes * share,
        )

    def __add__(self, other: Cost) -> Cost:
        """Of two stages: one comes after the other."""
        return Cost(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.answer_tokens + other.answer_tokens,
            _known([self.usd, other.usd], total),
            _known([self.minutes, other.minutes], total),
        )


@dataclass(frozen=True, slots=True)
class PlaceCost:
    """Of one teacher in one place of the config. `basis` tells how every number is known.

    `stored` of `planned` requests have their answers in the store, at least.
    """

    stage: str
    key: str
    teacher: TeacherConfig
    planned: int
    stored: int
    cost: Cost
    basis: dict[str, str]

    @property
    def in_batches(self) -> bool:
        """Only stage 1 has the time for them."""
        return in_batches(self.stage, self.teacher)


def in_batches(stage: str, teacher: TeacherConfig) -> bool:
    return stage == "generate" and teacher.mode == "batch"


def cost_of(
    stage: str, plan: Plan, place: Place, survey: Survey, rates: Rates, limits: RateLimits | None
) -> PlaceCost:
    """`limits` are those that the server told, if any."""
    planned, stored = survey.planned[place.key], survey.stored[place.key]
    left = _left(plan, place, survey)
    requests, size = left * planned.requests, left * planned.size
    made, answers = requests * rates.requests, requests * rates.answers
    prompt = size * rates.prompt_a_byte + requests * rates.prompt_more
    prices, minutes = place.teacher, None
    if in_batches(stage, place.teacher):
        prices = batch_prices(prices, cached_discount=False)
        time = "batches: the provider promises 24 hours, and is often faster"
    else:
        quota = _by_limits(limits, made, prompt + answers)
        minutes, time = _minutes(place.teacher, requests, rates, quota)
    return PlaceCost(
        stage,
        place.key,
        place.teacher,
        int(planned.requests),
        int(stored.requests),
        Cost(made, prompt, answers, _usd(prices, prompt, answers), minutes),
        rates.basis | {"time": time},
    )


def total_cost(plan: Plan, survey: Survey, places: Sequence[PlaceCost]) -> Cost:
    """Of all places of a stage, which are asked at the same time."""
    costs = [place.cost for place in places]
    if not plan.chooses_one:
        return _together(costs)
    # Every member answers the trial rows, the best one the rest.
    trial = min(1.0, survey.trials / survey.draws)
    return _together([cost * trial for cost in costs]) + _either(costs) * (1 - trial)


def _left(plan: Plan, place: Place, survey: Survey) -> Span:
    """The share of the planned requests that the store lacks.

    Of a row that was begun only the first questions can be looked up. Where their answers are
    stored, whatever came of them most probably is: later turns, a second teacher, a judge.
    """
    own = _missing(survey, place)
    if place.number is None:
        begun = max(_missing(survey, member) for member in plan.members)
        return Span(begun, begun, 1.0)
    if plan.config.generate.conversation != "last":
        return Span(own, own, 1.0)
    if place.share == ONE:
        return Span.exactly(own)
    begun = min(own, _missing(survey, plan.members[0]))
    return Span(begun, begun, own)


def _missing(survey: Survey, place: Place) -> float:
    planned = survey.planned[place.key].requests
    return 1 - survey.stored[place.key].requests / planned if planned else 0.0


def _minutes(
    teacher: TeacherConfig, requests: Span, rates: Rates, quota: Span
) -> tuple[Span | None, str]:
    """And what they rest on; `quota` are those that the server's limits make it last."""
    if rates.seconds is None:
        return None, rates.basis["time"]
    at_once = 1 if teacher.resolved_kind in ON_MACHINE else teacher.concurrency
    minutes = requests * rates.seconds * (1 / at_once / 60)
    if quota.mid > minutes.mid:
        return slowest_of([minutes, quota]), "as fast as the server's rate limits let it"
    return minutes, f"{rates.basis['time']}; {at_once} at once"


def _usd(teacher: TeacherConfig, prompt: Span, answers: Span) -> Span | None:
    if prompt.high == answers.high == 0:
        return NOTHING

    def price(prompt_tokens: float, answer_tokens: float) -> float | None:
        nano = Prices(teacher).nano_usd(Usage(round(prompt_tokens), round(answer_tokens)))
        return None if nano is None else nano / 1e9

    mid, low = price(prompt.mid, answers.mid), price(prompt.low, answers.low)
    high = price(prompt.high, answers.high)
    return None if mid is None or low is None or high is None else Span(mid, low, high)


def _by_limits(limits: RateLimits | None, requests: Span, tokens: Span) -> Span:
    """Minutes that the server's quotas make it last."""
    if limits is None:
        return NOTHING
    quotas = ((limits.requests, requests), (limits.tokens, tokens))
    return slowest_of(
        [amount * (1 / told.limit_per_minute) for told, amount in quotas if told.limit_per_minute]
    )


def _together(costs: Sequence[Cost]) -> Cost:
    return Cost(
        total(cost.requests for cost in costs),
        total(cost.prompt_tokens for cost in costs),
        total(cost.answer_tokens for cost in costs),
        _known([cost.usd for cost in costs], total),
        _known([cost.minutes for cost in costs], slowest_of),
    )


def _either(costs: Sequence[Cost]) -> Cost:
    return Cost(
        one_of([cost.requests for cost in costs]),
        one_of([cost.prompt_tokens for cost in costs]),
        one_of([cost.answer_tokens for cost in costs]),
        _known([cost.usd for cost in costs], one_of),
        _known([cost.minutes for cost in costs], one_of),
    )


def _known(spans: Sequence[Span | None], combine: Callable[[Sequence[Span]], Span]) -> Span | None:
    """What is unknown of one is unknown of all."""
    known = [span for span in spans if span is not None]
    return combine(known) if len(known) == len(spans) else None
