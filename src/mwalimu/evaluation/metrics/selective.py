"""Whether a model knows which of its answers are right: it may hand on those it doubts.

Rows are taken by falling confidence. Rows of equal confidence are not ordered: each counts as the
mean over all their orders.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def auroc(confidences: Sequence[float], correct: Sequence[float]) -> float | None:
    """The probability that a right answer is surer than a wrong one, ties one half; 0..1.

    Mann and Whitney's U over the pairs (Hanley and McNeil 1982); an answer is right above a score
    of one half. None where all are right or all are wrong.

    Raises:
        ValueError: there are no rows, or not as many of each.
    """
    sure_N, score_N = _columns(confidences, correct)
    right_N = score_N > 0.5
    right, wrong = int(right_N.sum()), int((~right_N).sum())
    if not right or not wrong:
        return None
    _, places_N, counts = np.unique(sure_N, return_inverse=True, return_counts=True)
    ranks_N = (np.cumsum(counts) - (counts - 1) / 2)[places_N]  # from 1, ties share their mean
    return float((ranks_N[right_N].sum() - right * (right + 1) / 2) / (right * wrong))


def aurc(confidences: Sequence[float], correct: Sequence[float]) -> float:
    """Area under the risk-coverage curve, in 0..1; less is better (Geifman et al. 2019).

    The mean over k = 1..n of the error of the k surest answers, error being 1 - score.

    Raises:
        ValueError: there are no rows, or not as many of each.
    """
    sure_N, score_N = _columns(confidences, correct)
    errors_N = _level(sure_N, 1 - score_N)
    return float((np.cumsum(errors_N) / np.arange(1, len(errors_N) + 1)).mean())


def _level(sure_N: Floats, error_N: Floats) -> Floats:
    """The errors by falling confidence, each the mean of the rows that are as sure."""
    _, places_N, counts = np.unique(-sure_N, return_inverse=True, return_counts=True)
    means = np.bincount(places_N, weights=error_N) / counts
    levelled: Floats = np.repeat(means, counts)
    return levelled


def _columns(confidences: Sequence[float], correct: Sequence[float]) -> tuple[Floats, Floats]:
    if not len(confidences) or len(confidences) != len(correct):
        raise ValueError(f"{len(confidences)} confidences for {len(correct)} rows")
    return np.asarray(confidences, np.float64), np.asarray(correct, np.float64)
