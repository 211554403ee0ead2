"""Which of the measured trials is the search's answer: the best, or the smallest as good as it.

Shapes: N rows, C trials, in the order of their numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROUNDING = 1e-9
"""One row of N is one standard error, but for the last digits."""
Rule = Callable[[Floats], int]
"""From scores (N, C) of the same rows to the column that is chosen."""


def best(scores_NC: Floats) -> int:
    """The highest mean, the earliest where several are."""
    return int(scores_NC.mean(axis=0).argmax())


def smallest_as_good(students: Sequence[str], sizes: Sequence[float]) -> Rule:
    """Of the best trial of each student, that of the smallest which is not told from the best.

    The one-standard-error rule: a student stays in the choice whose mean falls behind the best's by
    no more than one standard error of their differences, row by row (Breiman et al. 1984, section
    3.4.3, here of paired rows). `sizes` are in the same unit for all.
    """
    columns = [
        [place for place, name in enumerate(students) if name == student]
        for student in dict.fromkeys(students)
    ]

    def rule(scores_NC: Floats) -> int:
        own = [places[best(scores_NC[:, places])] for places in columns]
        top = own[best(scores_NC[:, own])]
        as_good = [place for place in own if _within_noise(scores_NC, place, top)]
        means = scores_NC.mean(axis=0)
        return min(as_good, key=lambda place: (sizes[place], -means[place], place))

    return rule


def _within_noise(scores_NC: Floats, one: int, top: int) -> bool:
    behind_N = scores_NC[:, top] - scores_NC[:, one]
    error = behind_N.std(ddof=1) / math.sqrt(len(behind_N)) if len(behind_N) > 1 else 0.0
    return bool(behind_N.mean() <= error * (1 + ROUNDING))
