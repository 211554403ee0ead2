"""How much of the best recipe's figure on the rows that chose it is luck."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mwalimu.evaluation.statistics import Interval
from mwalimu.tuning.picking import Rule, best

DRAWS = 1000


def without_selection(
    scores: Sequence[Sequence[float]], *, seed: int, draws: int = DRAWS, rule: Rule = best
) -> Interval | None:
    """The mean score that choosing among several recipes gives on rows that did not choose.

    `scores`: a list a recipe, of the same rows in the same order. Bootstrap bias correction
    (BBC-CV; Tsamardinos, Greasidou and Borboudakis 2018): rows are drawn with replacement, the
    rule chooses a recipe by them, and it is scored on the rows that were not drawn; the estimate is
    the mean over draws, with their 2.5 % and 97.5 % percentiles. None where there is one row only.

    Raises:
        ValueError: there is no recipe, or not as many rows of each.
    """
    scores_NC = np.array(list(zip(*scores, strict=True)), dtype=np.float64)
    if scores_NC.ndim != 2:
        raise ValueError("there are no scores to choose by")
    rows = len(scores_NC)
    if rows < 2:
        return None
    generator = np.random.default_rng(seed)
    found: list[float] = []
    while len(found) < draws:
        drawn_N = generator.integers(0, rows, rows)
        left_N = np.setdiff1d(np.arange(rows), drawn_N)
        if len(left_N):
            chosen = rule(scores_NC[drawn_N])
            found.append(float(scores_NC[left_N, chosen].mean()))
    low, high = np.percentile(found, [2.5, 97.5])
    return Interval(float(np.mean(found)), float(low), float(high))
