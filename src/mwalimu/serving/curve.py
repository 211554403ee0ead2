"""What a student and its teacher are right about together, by the share that is handed on.

A row is handed on where the student's confidence is below the threshold. Columns are float64 over
the same rows in the same order; scores are in 0..1, 1 right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mwalimu.evaluation.statistics import Interval, bootstrap_difference, mean_interval

Floats = NDArray[np.float64]

LEVEL = 0.95  # one-sided
STEPS = 100  # thresholds looked at: one for every hundredth of the rows
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Graded:
    """Of each row: how sure the student was, its score, the teacher's."""

    confidence: Floats
    student: Floats
    teacher: Floats

    def __len__(self) -> int:
        return len(self.confidence)

    def rows(self, chosen: NDArray[np.intp]) -> Graded:
        columns = (self.confidence, self.student, self.teacher)
        return Graded(*(column[chosen] for column in columns))

    def handed_on(self, below: float) -> NDArray[np.bool_]:
        handed: NDArray[np.bool_] = self.confidence < below
        return handed

    def served(self, below: float) -> Floats:
        """The scores of what the client gets."""
        return np.where(self.handed_on(below), self.teacher, self.student)


@dataclass(frozen=True, slots=True)
class Point:
    """`share` of the rows is below the threshold; `difference` is to the teacher's mean score."""

    below: float
    share: float
    score: Interval
    difference: Interval


@dataclass(frozen=True, slots=True)
class Threshold:
    """The lowest at which the served score is, at 95 %, at most `margin` below the teacher's.

    `share`, `served`, `student` and `teacher` are of the rows it was chosen on. Of `unseen` rows:
    each fold served by the threshold that the others chose, so nothing was chosen on what it is
    measured on.
    """

    below: float
    margin: float
    rows: int
    share: float
    served: float
    student: float
    teacher: float
    unseen: Interval
    unseen_share: float


def curve(
    graded: Graded, shares: Sequence[float], *, draws: int = 2000, seed: int = 0
) -> list[Point]:
    """A point for each share (0..1) that is to be handed on, with 95 % intervals.

    Rows of equal confidence stay together, so a point's own share may be smaller.
    """
    points = []
    for share in shares:
        below = threshold_of(graded, share)
        scores = graded.served(below).tolist()
        points.append(
            Point(
                below,
                float(graded.handed_on(below).mean()),
                mean_interval(scores, draws=draws, seed=seed),
                bootstrap_difference(scores, graded.teacher.tolist(), draws=draws, seed=seed),
            )
        )
    return points


def threshold_of(graded: Graded, share: float) -> float:
    """The largest threshold that hands on at most this share of the rows."""
    ordered = np.sort(graded.confidence)
    count = round(share * len(ordered))
    return float(ordered[count] if count < len(ordered) else np.nextafter(ordered[-1], 2.0))


def choose(graded: Graded, margin: float, *, seed: int = 0) -> Threshold | None:
    """None where even handing on every row proves nothing: there are too few rows for the margin.

    Raises:
        ValueError: there are no rows.
    """
    below = _lowest(graded, margin)
    if below is None:
        return None
    served, share = np.empty(len(graded)), np.empty(len(graded))
    for fold, others in _folds(len(graded), seed):
        chosen, unseen = _lowest(graded.rows(others), margin), graded.rows(fold)
        at = math.inf if chosen is None else chosen
        served[fold], share[fold] = unseen.served(at), unseen.handed_on(at)
    return Threshold(
        below,
        margin,
        len(graded),
        float(graded.handed_on(below).mean()),
        float(graded.served(below).mean()),
        float(graded.student.mean()),
        float(graded.teacher.mean()),
        mean_interval(served.tolist(), draws=2000, seed=seed),
        float(share.mean()),
    )


def _lowest(graded: Graded, margin: float) -> float | None:
    """From handing on everything downwards, up to the first threshold that cannot be shown to keep
    the margin. So no threshold is tried after a failure, and the error of the whole search is that
    of one test: fixed-sequence testing (Angelopoulos et al. 2021, "Learn then Test").
    """
    found = None
    for step in range(STEPS, -1, -1):
        below = threshold_of(graded, step / STEPS)
        if least_difference(graded.served(below), graded.teacher) < -margin:
            break
        found = below
    return found


def least_difference(scores: Floats, others: Floats) -> float:
    """One-sided 95 % lower bound of mean(scores) - mean(others) over the same rows.

    Wald's with one half added to each cell of the table of right and wrong (Agresti and Min 2005):
    two rows more, one of half a win and half a loss, so that rows without any difference do not
    give a bound without width. m = sum(d) / (n + 2), m - z sqrt(((sum(d^2) + 1) / (n + 2) - m^2) /
    (n + 2)).
    """
    differences = scores - others
    rows = len(differences) + 2
    mean = float(differences.sum()) / rows
    square = (float((differences**2).sum()) + 1) / rows
    return mean - NormalDist().inv_cdf(LEVEL) * math.sqrt(max(0.0, square - mean**2) / rows)


def _folds(rows: int, seed: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """(rows of a fold, all others)."""
    order = np.random.default_rng(seed).permutation(rows)
    for fold in np.array_split(order, min(FOLDS, rows)):
        yield fold, np.setdiff1d(order, fold)
