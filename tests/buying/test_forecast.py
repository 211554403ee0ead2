"""What is forecast, and how often its intervals hold what is true."""

import os

import pytest

from mwalimu.buying.forecast import FEWEST, Forecast, Point
from mwalimu.errors import DataError
from tests.buying.curves import error, students

LAW = (0.08, 3.0, 0.45)
ROWS = (400, 800, 1600, 3200, 6400)
WORLDS = 200 if os.environ.get("MWALIMU_LONG") else 30


@pytest.mark.parametrize("law", [LAW, (0.2, 0.0, 0.5), (0.0, 1.5, 0.25)])
def test_intervals_cover_as_often_as_they_say(law: tuple[float, float, float]) -> None:
    """30 worlds of each law: 95 % coverage fails 26 of 30 with a chance of 1 %."""
    gains = qualities = 0
    for seed in range(WORLDS):
        found = Forecast(students(law, ROWS, seed), seed)
        gain, quality = found.gain(6400, 6400), found.quality(12_800)
        gains += gain.low - 1e-9 <= error(*law, 6400) - error(*law, 12_800) <= gain.high
        qualities += quality.low <= 1 - error(*law, 12_800) <= quality.high
    assert min(gains, qualities) >= 0.86 * WORLDS


def test_more_points_make_it_narrower_and_a_seed_fixes_it() -> None:
    few, many = (Forecast(students(LAW, ROWS * times, 3)) for times in (1, 4))
    assert width(many) < width(few)
    assert Forecast(students(LAW, ROWS, 3)).gain(6400, 100) == few.gain(6400, 100)


def width(found: Forecast) -> float:
    gain = found.gain(6400, 6400)
    return gain.high - gain.low


def test_what_is_flat_buys_nothing_for_sure() -> None:
    flat = students((0.1, 0.0, 1.0), (500, 1000, 1500, 2000, 2500, 3000, 3500), 1, training=0.0)
    gain = Forecast(flat).gain(3500, 100)
    assert gain.low == pytest.approx(0, abs=1e-4) and gain.high < 0.005


def test_few_points_are_called_so() -> None:
    assert Forecast(students(LAW, ROWS[:3], 0)).too_few
    assert not Forecast(students(LAW, ROWS[:FEWEST], 0)).too_few
    with pytest.raises(DataError, match="3 different numbers of rows, here are 2"):
        Forecast(students(LAW, (400, 400, 800, 800), 0)).gain(800, 1)


def test_points_of_other_rows_are_refused() -> None:
    points = [Point(rows, (1.0,) * graded) for rows, graded in ((1, 9), (2, 9), (3, 8))]
    with pytest.raises(DataError, match="graded on different rows"):
        Forecast(tuple(points)).quality(10)


def test_a_larger_student_needs_three_sizes() -> None:
    sizes = (1_000_000, 4_000_000, 16_000_000)
    points = tuple(
        point._replace(parameters=size)
        for number, size in enumerate(sizes)
        for point in students((0.05 + 20 * size**-0.35, 2.0, 0.4), ROWS, number)
    )
    whole = Forecast(points)
    assert whole.over_sizes and not Forecast(points[:10]).over_sizes
    true = 1 - 0.05 - 20 * 64e6**-0.35 - 2 * 6400**-0.4
    found = whole.quality(6400, 64_000_000)
    assert found.low <= true <= found.high
    assert found.mean > whole.quality(6400, 16_000_000).mean
