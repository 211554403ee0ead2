"""The ledger of a generation: counts that sum to the inputs, tokens, money, what was repeated."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mwalimu.synthesis.ask import Calls
from mwalimu.synthesis.index import Spend
from mwalimu.synthesis.job import Job

REASONS = 20
DISTINCT_REASONS = 500  # a server may put something new into every message


class Tally:
    """Outcomes by kind and by reason."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def add(self, status: str, reason: str) -> None:
        self.counts[status] += 1
        if status != "ok":
            known = reason in self.reasons or len(self.reasons) < DISTINCT_REASONS
            self.reasons[reason if known else "other"] += 1


def write_ledger(job: Job, tally: Tally, inputs: int) -> dict[str, Any]:
    """`usd` is the price of the answers used, whenever they were paid; unknown stays unknown.

    `spent` is what this run folder has had sent and bought in all its lives; `unsettled` there are
    the requests whose end nobody saw, at their worst case: the only ones that may be paid twice.
    """
    calls = [asker.calls for asker in job.askers.values()]
    ledger = {
        "inputs": inputs,
        "outcomes": dict(sorted(tally.counts.items())),
        "reject_reasons": dict(tally.reasons.most_common(REASONS)),
        "tokens": {
            "prompt": sum(c.prompt_tokens for c in calls),
            "completion": sum(c.completion_tokens for c in calls),
        },
        "usd": total_usd(job),
        "answers_with_logprobs": sum(c.with_logprobs for c in calls),
        "requests_sent": sum(c.sent for c in calls),
        "answers_reused": sum(c.reused for c in calls),
        "retries": dict(sum((c.retries for c in calls), Counter())),
        "ambiguous_retries": sum(c.ambiguous for c in calls),
        "repeated_after_a_crash": sum(c.repeated for c in calls),
        "repeated_requests": [key for c in calls for key in c.repeated_keys],
        "spent": _spent(job.store.spend()),
        "teachers": {a.teacher.info.model: _of_one(a.calls) for a in job.askers.values()},
    }
    notes = job.notes()
    return ledger if notes is None else ledger | {"ensemble": notes}


def _of_one(calls: Calls) -> dict[str, int]:
    return {
        "requests_sent": calls.sent,
        "answers_reused": calls.reused,
        "prompt_tokens": calls.prompt_tokens,
        "completion_tokens": calls.completion_tokens,
    }


def total_usd(job: Job) -> float | None:
    """The price of the answers used, of all teachers; None where one is unknown."""
    total = 0.0
    for asker in job.askers.values():
        usd = asker.usd()
        if usd is None:
            return None
        total += usd
    return total


def _spent(spend: Spend) -> dict[str, Any]:
    return {
        "requests": spend.requests,
        "answers": spend.answers,
        "prompt_tokens": spend.prompt,
        "completion_tokens": spend.completion,
        "usd": None if spend.unpriced else spend.nano_usd / 1e9,
        "unsettled": {
            "requests": spend.open_requests,
            "tokens": spend.open_tokens,
            "usd": None if spend.unpriced else spend.open_nano_usd / 1e9,
        },
    }
