"""Whether a model that is 80 % sure is right 80 % of the time (Guo et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BINS = 15


def ece_equal_width(
    confidences: Sequence[float], correct: Sequence[float], bins: int = BINS
) -> float:
    """Expected calibration error, in 0..1: sum over bins of n_b / n * |accuracy_b - confidence_b|.

    Guo et al. 2017, equation 3: `bins` intervals ((b - 1) / bins, b / bins], the first with 0.

    Raises:
        ValueError: there are no rows, or not as many of each.
    """
    sure_N, right_N = _arrays(confidences, correct)
    places_N = np.clip(np.ceil(sure_N * bins).astype(int) - 1, 0, bins - 1)
    gaps_B = np.bincount(places_N, weights=right_N - sure_N, minlength=bins)
    return float(np.abs(gaps_B).sum() / len(sure_N))


def ece_equal_mass(
    confidences: Sequence[float], correct: Sequence[float], bins: int = BINS
) -> float:
    """The same over bins of as many rows each, by rising confidence (Nguyen and O'Connor 2015).

    Raises:
        ValueError: there are no rows, or not as many of each.
    """
    sure_N, right_N = _arrays(confidences, correct)
    order_N = np.argsort(sure_N, kind="stable")
    parts = np.array_split((right_N - sure_N)[order_N], min(bins, len(sure_N)))
    return float(sum(abs(part.sum()) for part in parts) / len(sure_N))


def _arrays(
    confidences: Sequence[float], correct: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not len(confidences) or len(confidences) != len(correct):
        raise ValueError(f"{len(confidences)} confidences for {len(correct)} rows")
    return np.asarray(confidences, np.float64), np.asarray(correct, np.float64)
