"""The measure of growth, on series of which it is known."""

import random

import pytest

from tests.soak.flat import growth


@pytest.mark.parametrize("grows", [0.0, 5.0])
def test_the_interval_holds_the_growth_and_tells_it_from_none(grows: float) -> None:
    chance = random.Random(3)
    held = told = 0
    for _ in range(200):
        series = [100 + grows * n / 600 + chance.gauss(0, 2) for n in range(600)]
        found = growth(series)
        held += found.low <= grows <= found.high
        told += found.low > 0
    assert held >= 180
    assert told > 190 if grows else told < 12
