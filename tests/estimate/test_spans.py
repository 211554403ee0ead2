"""Ranges, and whether two standard errors hold what they promise."""

import random

import pytest

from mwalimu.estimate.spans import NOTHING, Span, one_of, rate, slowest_of, total


def test_sums_and_products_keep_the_ends_together() -> None:
    a, b = Span(2, 1, 4), Span(3, 3, 5)
    assert a + b == Span(5, 4, 9) and a * b == Span(6, 3, 20) and a * 2 == Span(4, 2, 8)
    assert total([a, b, b]) == Span(8, 7, 14) and total([]) == NOTHING
    assert one_of([a, b]) == Span(2.5, 1, 5) and slowest_of([a, b]) == Span(3, 3, 5)
    assert a.capped(3) == Span(2, 1, 3)


def test_shown_with_its_range_or_without_one() -> None:
    assert Span(12.4, 9.8, 15.1).shown(",.2f", "$") == "$12.40 (9.80 to 15.10)"
    assert Span(1234.4, 1234.2, 1234.4).shown() == "1,234"


def test_a_rate_by_hand() -> None:
    assert rate([2, 4, 6], [1, 2, 3]) == Span(2, 2, 2)
    # Means 2 and 2, residuals -1 and 1: s^2 = 2, error of the mean 1, of the ratio 1/2.
    assert rate([1, 3], [2, 2]) == Span(1.0, 0.0, 2.0)
    assert rate([1, 3], [2, 2], population=2) == Span(1.0, 1.0, 1.0)
    assert rate([3], [2]) == Span(1.5, 0.75, 3.0) and rate([3], [2], 1) == Span(1.5, 1.5, 1.5)
    assert rate([], []) == rate([0.0], [0.0]) == NOTHING


@pytest.mark.parametrize("sample", [20, 200])
def test_two_standard_errors_hold_the_truth_as_often_as_they_say(sample: int) -> None:
    rng = random.Random(1)
    sizes = [rng.lognormvariate(4, 1) for _ in range(2000)]
    amounts = [size * rng.uniform(0.2, 0.4) + rng.expovariate(0.2) for size in sizes]
    truth = sum(amounts) / sum(sizes)
    held = 0
    for _ in range(400):
        rows = rng.sample(range(2000), sample)
        found = rate([amounts[i] for i in rows], [sizes[i] for i in rows], 2000)
        held += found.low <= truth <= found.high
    assert 0.87 <= held / 400 <= 0.99
