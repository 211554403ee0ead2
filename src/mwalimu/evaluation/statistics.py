"""What chance could have done: bootstrap intervals and paired tests over the test rows.

Most take one score a row. Paired functions take the two arms' scores of the same rows, in the same
order. A seed fixes every draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95
_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(0.5 + LEVEL / 2)
# Student's t at 0.975 for 1, 2, ... degrees of freedom.
_T: tuple[float, ...] = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)
_T += (2.2281, 2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930)
SIGN_FLIPS = 10_000
# Elements of one chunk of draws: memory stays flat whatever the number of rows.
_CHUNK = 1 << 20


class Interval(NamedTuple):
    """An estimate from the rows themselves, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


class Spread(NamedTuple):
    """Over trainings that differ in their seed alone; `sd` and the interval need two of them."""

    runs: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


def mean_interval(scores: Sequence[float], *, draws: int, seed: int) -> Interval:
    """Of the mean: Wilson's for scores of 0 and 1, the bootstrap's for others.

    On few rows the bootstrap of a share near 0 or 1 is too narrow, and without width at them.

    Raises:
        ValueError: there are no rows.
    """
    if is_binary(scores):
        return wilson(round(sum(scores)), len(scores))
    return bootstrap_mean(scores, draws=draws, seed=seed)


def wilson(right: int, rows: int) -> Interval:
    """Score interval of a share (Wilson 1927).

    (p + z^2/2n +- z sqrt(p (1 - p) / n + z^2/4n^2)) / (1 + z^2/n).

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("there are no rows")
    share, square = right / rows, _Z**2 / rows
    middle = (share + square / 2) / (1 + square)
    half = _Z * math.sqrt(share * (1 - share) / rows + square / (4 * rows)) / (1 + square)
    return Interval(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))


def bootstrap_mean(scores: Sequence[float], *, draws: int, seed: int) -> Interval:
    """Expanded percentile bootstrap interval of the mean (Hesterberg 2015, section 5.3).

    Rows that all score the same give an interval without width.

    Raises:
        ValueError: there are no rows.
    """
    means_D = _resampled_means(_columns(scores), draws, seed)[:, 0]
    return _interval(float(np.mean(scores)), means_D, len(scores))


def bootstrap_difference(
    scores: Sequence[float], others: Sequence[float], *, draws: int, seed: int
) -> Interval:
    """Interval of mean(scores) - mean(others) by the paired bootstrap (Koehn 2004).

    Raises:
        ValueError: there are no rows, or not as many of each.
    """
    means_D2 = _resampled_means(_columns(scores, others), draws, seed)
    return _interval(
        float(np.mean(scores) - np.mean(others)), means_D2[:, 0] - means_D2[:, 1], len(scores)
    )


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
    return _interval(float(np.mean(scores)) / below, means_D2[:, 0] / means_D2[:, 1], len(scores))


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


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in order: below 0.05 they keep the family's error rate (Holm 1979).

    The k-th smallest of m, from 0, becomes the largest so far of min(1, (m - k) p).
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for k, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - k) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def spread(means: Sequence[float]) -> Spread:
    """Mean, standard deviation and Student's 95 % interval of the mean over trainings.

    Raises:
        ValueError: there is no training.
    """
    runs = len(means)
    if not runs:
        raise ValueError("there is no training")
    mean = float(np.mean(means))
    if runs == 1:
        return Spread(1, mean, None, None, None)
    sd = float(np.std(means, ddof=1))
    half = _student(runs - 1) * sd / math.sqrt(runs)
    return Spread(runs, mean, sd, mean - half, mean + half)


def compared(
    scores: Sequence[float], others: Sequence[float], *, draws: int, seed: int
) -> dict[str, Any]:
    """How two arms differ on the same rows: `difference` with its interval, `p_value`, and which
    `test` gave it: McNemar's for scores of 0 and 1, else random sign flips.

    Raises:
        ValueError: there are no rows, or not as many of each.
    """
    difference = bootstrap_difference(scores, others, draws=draws, seed=seed)
    binary = is_binary(scores, others)
    return {
        "difference": difference._asdict(),
        "p_value": (
            mcnemar_exact(scores, others) if binary else permutation_test(scores, others, seed=seed)
        ),
        "test": "exact McNemar" if binary else "paired permutation",
    }


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


def _interval(estimate: float, draws_D: Floats, rows: int) -> Interval:
    tail = 100 * _tail(rows)
    low, high = np.percentile(draws_D, [tail, 100 - tail])
    return Interval(estimate, float(low), float(high))


def _tail(rows: int) -> float:
    """The share of draws outside the interval at each end: Hesterberg 2015, expanded percentiles.

    Resampled means spread less than means do, by sqrt((n - 1) / n), and are normal where Student's
    t is due: the plain percentiles cover too little on few rows.
    """
    if rows < 2:
        return (1 - LEVEL) / 2
    return _NORMAL.cdf(-math.sqrt(rows / (rows - 1)) * _student(rows - 1))


def _student(freedom: int) -> float:
    """Student's t at 0.975; beyond the table by its expansion (Abramowitz and Stegun, 26.7.5)."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    z = _Z
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
