"""The curve by hand, and the promise of the chosen threshold by simulation."""

import numpy as np
import pytest

from mwalimu.serving.curve import Graded, choose, curve, least_difference, threshold_of

SURE = np.array([0.2, 0.4, 0.6, 0.8])
BY_HAND = Graded(SURE, np.array([0.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 1.0, 1.0]))


def simulated(rows: int, seed: int) -> Graded:
    """A teacher right on 95 % of rows; a student right as often as it says, 84 % on average."""
    generator = np.random.default_rng(seed)
    sure = generator.beta(4, 0.75, rows)
    student = (generator.random(rows) < sure).astype(float)
    return Graded(sure, student, (generator.random(rows) < 0.95).astype(float))


def test_the_share_handed_on_and_what_is_right_then() -> None:
    found = curve(BY_HAND, [0.0, 0.5, 1.0])
    assert [point.share for point in found] == [0.0, 0.5, 1.0]
    # Student alone 2 of 4; teacher on the two least sure rows: 1, 0, 0, 1; teacher alone 3 of 4.
    assert [point.score.mean for point in found] == [0.5, 0.5, 0.75]
    assert [point.difference.mean for point in found] == [-0.25, -0.25, 0.0]


def test_rows_of_equal_confidence_stay_together() -> None:
    equal = Graded(np.array([0.5, 0.5, 0.5, 0.9]), np.zeros(4), np.ones(4))
    assert threshold_of(equal, 0.25) == 0.5
    assert curve(equal, [0.25])[0].share == 0.0
    assert curve(equal, [0.75])[0].share == 0.75


def test_a_row_that_is_certain_is_handed_on_with_all_others() -> None:
    certain = Graded(np.ones(3), np.zeros(3), np.ones(3))
    assert curve(certain, [1.0])[0].share == 1.0


def test_the_bound_is_walds_with_half_a_row_in_each_cell() -> None:
    # 3 losses, 1 win, 16 equal rows: m = -2 / 22, mean square 5 / 22.
    scores = np.array([0.0] * 3 + [1.0] * 17)
    others = np.array([1.0] * 3 + [0.0] + [1.0] * 16)
    mean, square = -2 / 22, 5 / 22
    wanted = mean - 1.6448536 * np.sqrt((square - mean**2) / 22)
    assert least_difference(scores, others) == pytest.approx(wanted, abs=1e-7)


def test_equal_rows_do_not_give_a_bound_without_width() -> None:
    assert least_difference(np.ones(10), np.ones(10)) < -0.1


def test_a_threshold_keeps_the_margin_and_hands_on_less_than_all() -> None:
    graded = simulated(600, 3)
    found = choose(graded, 0.03, seed=1)
    assert found is not None
    assert 0 < found.share < 1
    assert found.served >= found.teacher - 0.03
    assert found.unseen.low < found.served < found.unseen.high
    assert found == choose(graded, 0.03, seed=1)


def test_too_few_rows_prove_nothing() -> None:
    assert choose(simulated(20, 0), 0.02) is None


def test_a_student_as_good_as_its_teacher_answers_alone() -> None:
    same = np.ones(400)
    found = choose(Graded(np.linspace(0, 1, 400), same, same), 0.02)
    assert found is not None
    assert found.share == 0.0


def test_the_promise_holds_in_95_of_100_evaluations() -> None:
    # Of the population: what is served less what the teacher would be right about.
    population = simulated(200_000, 99)
    kept = []
    for seed in range(120):
        found = choose_below(simulated(400, seed))
        difference = population.served(found).mean() - population.teacher.mean()
        kept.append(difference >= -0.03)
    assert np.mean(kept) >= 0.91  # 0.95 less two standard errors of 120


def choose_below(graded: Graded) -> float:
    from mwalimu.serving.curve import _lowest

    below = _lowest(graded, 0.03)
    assert below is not None
    return below
