"""Rates from a probe: what its rows took, for each request that was planned for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mwalimu.estimate.plan import Place, Plan, Portion, Weighed
from mwalimu.estimate.probe import Asked, Probe
from mwalimu.estimate.rates import Rates
from mwalimu.estimate.spans import NOTHING, Span, rate

NEVER_SEEN = 3  # of n rows none: with 95 % certainty fewer than 3 in n


def measured(plan: Plan, place: Place, probe: Probe, assumed: Rates) -> Rates:
    """`assumed` is kept where the probe's rows tell nothing."""
    rows = len(probe.rows)
    planned = [_planned(plan, place, probe, number) for number in range(rows)]
    asked = [probe.asked[place.key].get(record.id, Asked()) for record in probe.rows]
    if not sum(portion.requests for portion in planned):
        return assumed
    if not sum(one.requests for one in asked):
        return _never_asked(assumed, rows)
    requests = [portion.requests for portion in planned]
    note = f"measured on {rows:,} rows, +/- 2 standard errors"
    answer_tokens = [one.answer_tokens for one in asked]
    answer = rate(answer_tokens, [one.requests for one in asked])
    each = f"{answer.mid:,.1f} an answer +/- {answer.high - answer.mid:,.1f}"
    found = replace(
        assumed,
        requests=rate([one.requests for one in asked], requests),
        answers=rate(answer_tokens, requests),
        answer=answer,
        basis=assumed.basis | {"requests": note, "answer": f"{each}; {note}"},
    )
    found = _with_time(found, requests, asked)
    if not any(one.prompt_tokens for one in asked):  # some servers report no usage
        return found
    return replace(
        found,
        prompt_a_byte=rate([one.prompt_tokens for one in asked], [p.size for p in planned]),
        prompt_more=NOTHING,
        basis=found.basis | {"prompt": f"as the teacher counts them; {note}"},
    )


def _planned(plan: Plan, place: Place, probe: Probe, number: int) -> Portion:
    record = probe.rows[number]
    portion = Portion()
    portion.add(plan.one(place, Weighed.of(plan, record)), times=len(plan.draws(place, record, 0)))
    return portion


def _with_time(rates: Rates, planned: Sequence[float], asked: Sequence[Asked]) -> Rates:
    """From the rows of which nothing was found in the store."""
    pairs = [(p, one) for p, one in zip(planned, asked, strict=True) if one.timed == one.requests]
    timed = [one for _, one in pairs if one.timed]
    if not timed:
        return rates
    latency = rate([one.seconds for one in timed], [one.timed for one in timed])
    speed = rate([one.answer_tokens for one in timed], [one.seconds for one in timed])
    basis = (
        f"measured: {latency.mid:.2f} s a request +/- {latency.high - latency.mid:.2f}, "
        f"{speed.mid:,.0f} tokens/s +/- {speed.high - speed.mid:,.0f} each"
    )
    seconds = rate([one.seconds for _, one in pairs], [p for p, _ in pairs])
    return replace(rates, seconds=seconds, basis=rates.basis | {"time": basis})


def _never_asked(assumed: Rates, rows: int) -> Rates:
    def seldom(span: Span) -> Span:
        return Span(0.0, 0.0, span.high * min(1.0, NEVER_SEEN / rows))

    return replace(
        assumed,
        requests=seldom(assumed.requests),
        prompt_a_byte=seldom(assumed.prompt_a_byte),
        prompt_more=seldom(assumed.prompt_more),
        answers=seldom(assumed.answers),
        seconds=None if assumed.seconds is None else seldom(assumed.seconds),
        basis=assumed.basis | {"requests": f"never needed by the {rows:,} rows of the probe"},
    )
