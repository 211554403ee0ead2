"""The answer has to be JSON that fits the user's schema."""

from __future__ import annotations

from mwalimu.curation.row import Answered
from mwalimu.curation.verdict import KEPT, Verdict, fault
from mwalimu.data.schema import Problem


def schema(answer: Answered, problem: Problem) -> Verdict:
    """`problem` says what is wrong with a text under the schema."""
    found = problem(answer.text)
    return fault("breaks the schema", found) if found else KEPT
