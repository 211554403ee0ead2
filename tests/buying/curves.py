"""Students that never were: graded rows drawn from a known law."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from mwalimu.buying.forecast import Point

GRADED = 600
TRAINING = 0.006  # standard deviation of a training's chance, in 0..1
SHARED = 0.7  # of a row's difficulty, the part that all students find alike


def error(floor: float, scale: float, exponent: float, rows: float) -> float:
    return floor + scale * rows**-exponent


def students(
    law: tuple[float, float, float], rows: Sequence[int], seed: int, *, training: float = TRAINING
) -> tuple[Point, ...]:
    """A point for each number of rows, graded on the same rows."""
    random = np.random.default_rng(seed)
    hard = random.standard_normal(GRADED)
    found = []
    for number in rows:
        wrong = error(*law, number) + training * random.standard_normal()
        limit = NormalDist().inv_cdf(min(max(wrong, 1e-6), 1 - 1e-6))
        own = random.standard_normal(GRADED)
        difficulty = SHARED**0.5 * hard + (1 - SHARED) ** 0.5 * own
        found.append(Point(number, tuple((difficulty >= limit).astype(float).tolist())))
    return tuple(found)
