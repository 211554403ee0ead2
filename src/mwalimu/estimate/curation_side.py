"""What the judge of stage curate will take, where the config asks one."""

from __future__ import annotations

from dataclasses import replace

from mwalimu.curation.judging import RUBRIC
from mwalimu.curation.plan import chosen
from mwalimu.estimate.assumptions import VERDICT, Assumptions, seconds_of, time_basis
from mwalimu.estimate.plan import Place, Plan, Portion
from mwalimu.estimate.rates import Rates
from mwalimu.estimate.spans import Span
from mwalimu.estimate.survey import Survey
from mwalimu.estimate.teacher_side import PlaceCost, cost_of
from mwalimu.estimate.tokens import TURN_TOKENS

AT_MOST = Span(1.0, 0.0, 1.0)


def scorer_cost(plan: Plan, survey: Survey, answer: Span) -> PlaceCost | None:
    """`answer` are the tokens of one of the teacher's. None where no judge is asked.

    What the other checks leave is scored, once an answer: at most all of them. Whether scores are
    in the store already can only be known once the answers are there.
    """
    teacher = plan.config.scorer()
    if teacher is None or "judge" not in chosen(plan.config):
        return None
    place = Place("curate.judge.teacher", teacher)
    assumptions = Assumptions(plan, survey)
    planned = Portion(survey.draws, survey.draws * _prompt_size(survey))
    seen = replace(
        survey,
        planned=survey.planned | {place.key: planned},
        stored=survey.stored | {place.key: Portion()},
    )
    rubric = Span.exactly(assumptions.counter(place).text(RUBRIC) + 2 * TURN_TOKENS)
    verdict = VERDICT.capped(teacher.max_tokens)
    rates = Rates(
        requests=AT_MOST,
        prompt_a_byte=assumptions.prompt_a_byte(place) * AT_MOST,
        prompt_more=AT_MOST * (rubric + answer),
        answers=AT_MOST * verdict,
        answer=verdict,
        seconds=seconds_of(teacher, AT_MOST, AT_MOST * verdict),
        basis={
            "requests": "one an answer that the other checks leave",
            "prompt": f"the rubric, the prompt and the answer; {assumptions.counter(place).basis}",
            "answer": "a verdict of about 100 tokens (20 to 300)",
            "time": time_basis(teacher),
        },
    )
    return cost_of("curate", plan, place, seen, rates, None)


def _prompt_size(survey: Survey) -> float:
    """Bytes of a prompt, over all places that are asked one."""
    asked = [portion for portion in survey.planned.values() if portion.requests]
    requests = sum(portion.requests for portion in asked)
    return sum(portion.size for portion in asked) / requests if requests else 0.0
