"""Against every pair and every order, counted one by one, and against scipy."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from mwalimu.evaluation.metrics.selective import aurc, auroc


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    # Right: 0.9, 0.5. Wrong: 0.5, 0.1. Pairs: 0.9>0.5, 0.9>0.1, 0.5=0.5, 0.5>0.1 -> 3.5 of 4.
    assert auroc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]) == 3.5 / 4


def test_auroc_is_scipys_u() -> None:
    generator = np.random.default_rng(0)
    sure = generator.integers(0, 9, 80) / 8  # many ties
    right = (generator.random(80) < sure).astype(float)
    wanted = mannwhitneyu(sure[right == 1], sure[right == 0]).statistic
    found = auroc(sure.tolist(), right.tolist())
    assert found == pytest.approx(wanted / (right.sum() * (80 - right.sum())))


def test_auroc_of_rows_that_are_all_right_is_unknown() -> None:
    assert auroc([0.9, 0.1], [1, 1]) is None


def test_aurc_by_hand() -> None:
    # Errors by falling confidence: 0, 1, 0. Risks: 0/1, 1/2, 1/3; their mean is 5/18.
    assert aurc([0.1, 0.9, 0.5], [1, 1, 0]) == pytest.approx(5 / 18)


def test_aurc_with_ties_is_the_mean_over_their_orders() -> None:
    right = [1.0, 0.0, 0.25]
    means = []
    for order in permutations(right):
        errors = [1 - score for score in order]
        means.append(np.mean([sum(errors[:k]) / k for k in (1, 2, 3)]))
    assert aurc([0.5, 0.5, 0.5], right) == pytest.approx(np.mean(means))


@pytest.mark.parametrize("metric", [auroc, aurc])
def test_no_rows_are_refused(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match="0 confidences"):
        metric([], [])
