"""What seeds and test rows could have done: intervals and paired tests, clustered by seed.

Shapes: S seeds, N test rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
LEVEL = 0.95
DRAWS = 4_000
LEAST_SEEDS = 3
"""Of a p-value: two that agree by chance would look certain."""
# With t = sqrt(f) tan(a), Student's density with f degrees of freedom is cos(a)^(f-1) up to a
# constant: a finite range, and a sum over it is exact to six digits.
_ANGLES = (np.arange(1_000_000) + 0.5) / 1_000_000 * np.pi / 2


class Interval(NamedTuple):
    """Without ends where there is one seed alone."""

    mean: float
    low: float | None
    high: float | None


def over_seeds(values_S: Sequence[float]) -> Interval:
    """Student's interval of the mean; the test rows are taken as they are."""
    mean = float(np.mean(values_S))
    if len(values_S) < 2:
        return Interval(mean, None, None)
    half = t_quantile(len(values_S) - 1) * _standard_error(values_S)
    return Interval(mean, mean - half, mean + half)


def over_seeds_and_rows(values_SN: Array, *, seed: int = 0) -> Interval:
    """Bootstrap that draws seeds and test rows, each with replacement (Owen 2007, pigeonhole).

    Rows are answered by the students of all seeds, so neither is nested in the other.
    """
    generator = np.random.default_rng(seed)
    seeds, rows = values_SN.shape
    means = np.empty(DRAWS)
    for draw in range(DRAWS):
        weight_N = np.bincount(generator.integers(0, rows, rows), minlength=rows)
        weight_S = np.bincount(generator.integers(0, seeds, seeds), minlength=seeds)
        means[draw] = weight_S @ values_SN @ weight_N / (seeds * rows)
    low, high = np.percentile(means, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(values_SN.mean()), float(low), float(high))


def p_value(differences_S: Sequence[float]) -> float | None:
    """Two-sided, of the paired t-test over seeds; None where they are too few or do not vary."""
    error = _standard_error(differences_S)
    if len(differences_S) < LEAST_SEEDS or error == 0:
        return None
    freedom = len(differences_S) - 1
    angle = math.atan(abs(float(np.mean(differences_S))) / error / math.sqrt(freedom))
    density = np.cos(_ANGLES) ** (freedom - 1)
    return float(density[angle < _ANGLES].sum() / density.sum())


def t_quantile(freedom: int) -> float:
    """What |t| exceeds with probability 1 - LEVEL."""
    density = np.cos(_ANGLES) ** (freedom - 1)
    place = int(np.searchsorted(np.cumsum(density), LEVEL * density.sum()))
    return math.sqrt(freedom) * math.tan(_ANGLES[place])


def _standard_error(values_S: Sequence[float]) -> float:
    return float(np.std(values_S, ddof=1)) / math.sqrt(len(values_S))
