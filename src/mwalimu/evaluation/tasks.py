"""How a prediction is graded, by the task of its own row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mwalimu.evaluation.metrics import exact_match, label_match, numeric_match, token_f1


@dataclass(frozen=True, slots=True)
class Grader:
    """`score` maps (prediction, reference) to the headline score in 0..1."""

    metric: str
    score: Callable[[str, str], float]


LABEL = Grader("label match", label_match)
EXACT = Grader("exact match", exact_match)
NUMBER = Grader("numeric match", numeric_match)
WORDS = Grader("token F1", token_f1)

GRADERS = {
    "nli": LABEL,
    "classification": LABEL,
    "qa": EXACT,
    "math": NUMBER,
    "summarization": WORDS,  # a good summary is rarely the reference word for word
    "conversation": EXACT,
    "generic": EXACT,
}


def grader_of(task: str) -> Grader:
    """The grader of `task`; a name of the user's own is graded like generic."""
    return GRADERS.get(task, GRADERS["generic"])


def grade(task: str, prediction: str, reference: str) -> float:
    """The row's headline score: 0 or 1; for summarization 0..1."""
    return grader_of(task).score(prediction, reference)
