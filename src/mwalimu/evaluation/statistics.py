"""What chance could have done: bootstrap intervals and paired tests over the test rows.

All take one score a row. Paired functions take the two arms' scores of the same rows, in the same
order. A seed fixes every draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95
SIGN_FLIPS = 10_000
# Elements of one chunk of draws: memory stays flat whatever the number of rows.
_CHUNK = 1 << 20


class Interval(NamedTuple):
    """An estimate from the rows themselves, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(scores: Sequence[float], *, draws: int, seed: int) -> Interval:
    """Percentile bootstrap interval of the mean (Efron and Tibshirani 1993, section 13.3).

    Rows that all score the same give an interval without width.

    Raises:
        ValueError: there are no rows.
    """
    means_D = _resampled_means(_columns(scores), draws, seed)[:, 0]
    return _interval(float(np.mean(scores)), means_D)


def bootstrap_difference(
    scores: Sequence[float], others: Sequence[float], *, draws: int, seed: int
) -> Interval:
    """Interval of mean(scores) - mean(others) by the paired bootstrap (Koehn 2004).

    Raises:
        ValueError: there are no rows, or not as many of each.
    """
    means_D2 = _resampled_means(_columns(scores, others), draws, seed)
    return _interval(float(np.mean(scores) - np.mean(others)), means_D2[:, 0] - means_D2[:, 1])


def bootstrap_ratio(
    scores: Sequence[float], others: Sequence[float], *, draws: int, seed: int
) -> Interval | None:
    """Interval of mean(scores) / mean(others) by the paired bootstrap; None where others are 0.

    Draws whose denominator is 0 have no ratio and are left out.

    Raises:
        ValueError: there are no rows, or not as many of each.
    """
    means_D2 = _resampled_means(_columns(scores, others), draws, seed)
    means_D2 = means_D2[means_D2[:, 1] > 0]
    below = float(np.mean(others))
    if below <= 0 or not len(means_D2):
        return None
    return _interval(float(np.mean(scores)) / below, means_D2[:, 0] / means_D2[:, 1])


def mcnemar_exact(scores: Sequence[float], others: Sequence[float]) -> float:
    """Two-sided exact p-value for 0/1 scores of the same rows (McNemar 1947).

    Under no difference each of the n rows on which the arms disagree is a fair coin:
    p = min(1, 2 * sum over i <= k of C(n, i) / 2^n), k the smaller count of wins.
    """
    wins = sum(a > b for a, b in zip(scores, others, strict=True))
    losses = sum(a < b for a, b in zip(scores, others, strict=True))
    n, term, total = wins + losses, 1, 0
    for i in range(min(wins, losses) + 1):
        total += term
        term = term * (n - i) // (i + 1)
    return min(1.0, 2 * total / (1 << n))


def permutation_test(
    scores: Sequence[float], others: Sequence[float], *, seed: int, draws: int = SIGN_FLIPS
) -> float:
    """Two-sided p-value of the mean difference by random sign flips (Fisher 1935).

    p = (1 + draws at least as extreme) / (1 + draws): never 0 (Phipson and Smyth 2010).
    """
    differences = np.subtract(scores, others, dtype=np.float64)
    differences = differences[differences != 0]  # a sign changes nothing there
    # Sums that are equal in exact arithmetic differ in their last bits.
    observed = abs(differences.sum()) - 1e-9 * np.abs(differences).sum()
    generator = np.random.default_rng(seed)
    extreme = 0
    for size in _chunks(draws, len(differences)):
        signs_DN = 2.0 * generator.integers(0, 2, (size, len(differences)), np.int8) - 1.0
        extreme += int((np.abs(signs_DN @ differences) >= observed).sum())
    return (1 + extreme) / (1 + draws)


def is_binary(*columns: Sequence[float]) -> bool:
    return all(score in (0.0, 1.0) for column in columns for score in column)


def _columns(*columns: Sequence[float]) -> Floats:
    """Shape (rows, arms)."""
    if not len(columns[0]):
        raise ValueError("there are no rows to resample")
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)


def _resampled_means(scores_NA: Floats, draws: int, seed: int) -> Floats:
    """Shape (draws, arms): the arms' means over rows drawn with replacement."""
    rows = len(scores_NA)
    generator = np.random.default_rng(seed)
    parts = [
        scores_NA[generator.integers(0, rows, (size, rows))].mean(axis=1)
        for size in _chunks(draws, rows * scores_NA.shape[1])
    ]
    return np.concatenate(parts)


def _chunks(draws: int, width: int) -> Iterator[int]:
    size = max(1, _CHUNK // max(1, width))
    for start in range(0, draws, size):
        yield min(size, draws - start)


def _interval(estimate: float, draws_D: Floats) -> Interval:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(draws_D, [tail, 100 - tail])
    return Interval(estimate, float(low), float(high))
