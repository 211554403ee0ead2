"""Rows with a gold answer: what disagrees with it is not learned (rejection sampling)."""

from __future__ import annotations

from mwalimu.curation.row import Answered
from mwalimu.curation.verdict import KEPT, Verdict, fault
from mwalimu.data.final_answer import final_answer
from mwalimu.data.grading import grade, token_f1

EXACT = {"nli", "classification", "math"}
"""Tasks of which a right answer has one form."""


def reference(answer: Answered, min_f1: float = 0.5) -> Verdict:
    """By the task's own grader; for qa by the F1 of words. Free text is not compared."""
    if answer.reference is None:
        return KEPT
    if answer.task in EXACT:
        right = grade(answer.task, answer.text, answer.reference) == 1
        return KEPT if right else fault("not the gold answer", final_answer(answer.text))
    if answer.task == "qa":
        overlap = token_f1(final_answer(answer.text), answer.reference)
        return KEPT if overlap >= min_f1 else fault("too far from the gold answer", overlap)
    return KEPT
