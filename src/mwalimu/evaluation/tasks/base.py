"""`Task`: one row's grade (the primary metric is its mean) and the corpus metrics beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mwalimu.data.final_answer import final_answer
from mwalimu.data.grading import Grader

Corpus = Callable[[Sequence[str], Sequence[str]], float | None]


@dataclass(frozen=True, slots=True)
class Task:
    """`expects` says what a row asks for. `corpus` maps (predictions, references) to a number."""

    name: str
    expects: str
    grader: Grader
    corpus: Mapping[str, Corpus] = field(default_factory=dict)

    def score(self, prediction: str, reference: str) -> float:
        """In 0..1; reasoning before a line "Answer: ..." is not graded."""
        return self.grader.score(final_answer(prediction), reference)
