"""Numbers of many rows, made of what is known of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mwalimu.data.final_answer import final_answer
from mwalimu.evaluation.metrics.overlap import rouge
from mwalimu.evaluation.tasks.base import Corpus


def mean_of(score: Callable[[str, str], float]) -> Corpus:
    """The mean of a row's score over rows, of the final answers."""

    def mean(predictions: Sequence[str], references: Sequence[str]) -> float:
        pairs = zip(predictions, references, strict=True)
        return sum(score(final_answer(p), r) for p, r in pairs) / max(len(predictions), 1)

    return mean


def rouge_of(kind: str) -> Corpus:
    def mean(predictions: Sequence[str], references: Sequence[str]) -> float | None:
        found = rouge(predictions, references)
        return None if found is None else found[kind]

    return mean
