"""From points, students trained on few rows, to what more rows would buy, with intervals.

Two things blur a point: another test set would have had other rows, and another training another
student. The first is drawn by resampling the graded rows, the same for all points, so that what is
hard for all students moves them together. The second is drawn as noise of each point by itself, as
large as the points lie off the law beyond what the rows explain; with few points that size is
itself uncertain, and is drawn too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mwalimu.buying.law import PARTS, Floats, Law, fit
from mwalimu.errors import DataError
from mwalimu.evaluation.statistics import Interval

DRAWS = 1000

FEWEST = PARTS + 1
"""Points below which nothing says how far they lie off the law."""
SIZES = 3  # different students from which a forecast over sizes can be made


class Point(NamedTuple):
    """A student that learned `rows`: the score in 0..1 of each graded row.

    `graded` is a hash of which rows these were, in their order.
    """

    rows: int
    scores: tuple[float, ...]
    parameters: int = 1
    graded: str = ""

    @property
    def quality(self) -> float:
        return float(np.mean(self.scores))


@dataclass(frozen=True)
class Forecast:
    """The laws of the points' draws, the first of them of the points as they are.

    Raises DataError (in `laws`) where there are too few points, or they graded different rows.
    """

    points: tuple[Point, ...]
    seed: int = 0

    @property
    def too_few(self) -> bool:
        """Whether an interval would leave out the chance of a training."""
        return len(self.points) < FEWEST

    def quality(self, rows: float, parameters: float | None = None) -> Interval:
        """Expected score in 0..1 after so many rows, with a 95 % interval."""
        return _interval(1 - self.laws.error(rows, self._size(parameters)))

    def gain(self, rows: float, more: float) -> Interval:
        """What `more` rows on top of `rows` add to the expected score, with a 95 % interval."""
        size = self._size(None)
        return _interval(self.laws.error(rows, size) - self.laws.error(rows + more, size))

    def _size(self, parameters: float | None) -> float:
        known = self.points[-1].parameters if parameters is None else parameters
        return float(known)

    @property
    def over_sizes(self) -> bool:
        return len({point.parameters for point in self.points}) >= SIZES

    @cached_property
    def laws(self) -> Law:
        self._check()
        rows_K = np.array([point.rows for point in self.points], np.float64)
        sizes_K = np.array([p.parameters for p in self.points], np.float64)
        wrong_NK = 1 - np.array([point.scores for point in self.points], np.float64).T
        random = np.random.default_rng(self.seed)
        covariance_KK = _covariance(wrong_NK)
        variance_K = np.maximum(np.diag(covariance_KK), 1 / (4 * len(wrong_NK) ** 2))
        errors_K = wrong_NK.mean(axis=0)
        sizes = sizes_K if self.over_sizes else None
        law = fit(rows_K, errors_K[None], 1 / variance_K, sizes)
        fitted_K = _at(law, rows_K, sizes_K)
        noise_D = _noise(errors_K - fitted_K, covariance_KK, random)
        drawn_DK = _resampled(wrong_NK, random)
        drawn_DK += noise_D[:, None] * random.standard_normal(drawn_DK.shape)
        return fit(rows_K, np.concatenate([errors_K[None], drawn_DK]), 1 / variance_K, sizes)

    def _check(self) -> None:
        if len({point.rows for point in self.points}) < PARTS:
            raise DataError(
                f"a curve needs students of {PARTS} different numbers of rows, here are "
                f"{len({point.rows for point in self.points})}",
                where="forecast",
                fix="name more runs, or one run alone, of which smaller ones are then made",
            )
        if len({(point.graded, len(point.scores)) for point in self.points}) > 1:
            raise DataError(
                "the runs were graded on different rows",
                where="forecast",
                fix="evaluate them on the same data.test",
            )


def _interval(draws_D: Floats) -> Interval:
    low, high = np.percentile(draws_D[1:], [2.5, 97.5])
    return Interval(float(draws_D[0]), float(min(low, draws_D[0])), float(max(high, draws_D[0])))


def _at(law: Law, rows_K: Floats, sizes_K: Floats) -> Floats:
    pairs = zip(rows_K, sizes_K, strict=True)
    return np.array([law.error(rows, size)[0] for rows, size in pairs])


def _covariance(wrong_NK: Floats) -> Floats:
    """(K, K) of the points' means over rows."""
    return np.atleast_2d(np.cov(wrong_NK, rowvar=False)) / len(wrong_NK)


def _noise(off_K: Floats, covariance_KK: Floats, random: np.random.Generator) -> Floats:
    """(DRAWS,) standard deviations of a training's chance.

    The points' variance about the law, less what their own test rows explain: the part of the
    rows' variance that the points do not share. Divided by a draw of chi-squared, as a normal
    sample's variance is uncertain.
    """
    freedom = max(1, len(off_K) - PARTS)
    count = len(off_K)
    together = (covariance_KK.sum() - np.trace(covariance_KK)) / (count * (count - 1))
    of_rows = float(np.trace(covariance_KK) / count - together)
    drawn_D = (off_K @ off_K) / random.chisquare(freedom, DRAWS)
    return np.sqrt(np.maximum(0.0, drawn_D - of_rows))


def _resampled(wrong_NK: Floats, random: np.random.Generator) -> Floats:
    """(DRAWS, K) mean errors over rows drawn with replacement."""
    rows = len(wrong_NK)
    counts_DN = random.multinomial(rows, np.full(rows, 1 / rows), DRAWS)
    return np.asarray(counts_DN @ wrong_NK / rows, np.float64)
