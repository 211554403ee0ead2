"""The answer to a sum has to give a number."""

from __future__ import annotations

from mwalimu.curation.row import Answered
from mwalimu.curation.verdict import KEPT, Verdict, fault
from mwalimu.data.grading import final_number


def number(answer: Answered) -> Verdict:
    """Task math only. Whether it is the right one is for `reference`."""
    if answer.task == "math" and final_number(answer.text) is None:
        return fault("no number", answer.text)
    return KEPT
