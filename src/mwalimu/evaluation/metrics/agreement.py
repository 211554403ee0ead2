"""Two judges, two models: how often they say the same, and how much of that is not chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mwalimu.data.final_answer import final_answer
from mwalimu.data.grading import normalise


def same_answer(predictions: Sequence[str], others: Sequence[str]) -> float:
    """Share of rows with the same answer but for case, punctuation and articles."""
    pairs = zip(predictions, others, strict=True)
    same = sum(normalise(final_answer(a)) == normalise(final_answer(b)) for a, b in pairs)
    return same / max(len(predictions), 1)


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """kappa = (p_o - p_e) / (1 - p_e) (Cohen 1960); None where chance alone agrees always.

    Raises:
        ValueError: there are no rows, or not as many of each.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"{len(first)} ratings for {len(second)}")
    n = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    one, two = Counter(first), Counter(second)
    chance = sum(one[label] * two[label] for label in one) / n**2
    return None if chance == 1 else (observed - chance) / (1 - chance)
