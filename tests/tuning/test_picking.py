"""The smallest student that is as good as the best, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mwalimu.tuning.picking import best, smallest_as_good


def columns(*rights: int, rows: int = 100) -> np.ndarray:
    """(rows, recipes): each is right on its first so many rows."""
    return np.array([[float(row < right) for right in rights] for row in range(rows)])


@pytest.mark.parametrize(("behind", "chosen"), [(0, 1), (1, 1), (2, 0), (30, 0)])
def test_within_one_standard_error_the_smaller_is_taken(behind: int, chosen: int) -> None:
    """One row of a hundred: 0.01 behind, error 0.01. Two rows: 0.02 behind, error 0.0141."""
    rule = smallest_as_good(["large", "small"], [10.0, 1.0])
    assert rule(columns(80, 80 - behind)) == chosen


def test_a_student_stands_for_its_best_trial_and_the_earliest_of_equals() -> None:
    rule = smallest_as_good(["a", "b", "b", "a"], [5.0, 5.0, 5.0, 5.0])
    assert rule(columns(50, 20, 70, 70)) == 2
    assert rule(columns(70, 20, 70, 30)) == 0
    assert best(columns(50, 70, 70)) == 1


def test_one_student_is_chosen_as_the_best_is() -> None:
    rule = smallest_as_good(["a"] * 3, [3.0, 2.0, 1.0])
    assert rule(columns(80, 79, 78)) == 0
    assert rule(columns(1, 0, 1, rows=1)) == 0
