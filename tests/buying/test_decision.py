import pytest

from mwalimu.buying.decision import Decision, Next, decide
from mwalimu.config import ActiveConfig
from mwalimu.evaluation.statistics import Interval
from tests.buying.curves import students

STEEP = students((0.05, 30.0, 0.7), (500, 1000, 1500, 2000, 2500), 0, training=0.0)
FLAT = students((0.1, 0.0, 1.0), (500, 1000, 1500, 2000, 2500, 3000), 0, training=0.0)


def test_the_first_rounds_are_bought_whatever_they_bring() -> None:
    found = decide(FLAT[:3], ActiveConfig(), Next(500, 0.001), 0)
    assert found.buy == 500 and found.gain is None
    assert "4 rounds make a curve" in found.in_words()


def test_a_steep_curve_goes_on_and_a_flat_one_ends() -> None:
    steep = decide(STEEP, ActiveConfig(), Next(500, 0.002), 0)
    assert steep.buy == 500 and steep.gain and steep.gain.mean > 0.01
    assert "500 more rows buy about +" in steep.in_words() and "for $1.00" in steep.in_words()
    flat = decide(FLAT, ActiveConfig(stop_below=2.0), Next(500, 0.002), 0)
    assert flat.buy == 0 and "surely less than 2 points" in flat.in_words()
    assert "which may be nothing" in flat.in_words()


def test_a_point_may_be_too_dear() -> None:
    cheap = ActiveConfig(stop_below=0, usd_per_point=1000)
    dear = ActiveConfig(stop_below=0, usd_per_point=0.01)
    assert decide(STEEP, cheap, Next(500, 0.002), 0).buy == 500
    ended = decide(STEEP, dear, Next(500, 0.002), 0)
    assert ended.buy == 0 and "surely more than $0.01 a point" in ended.in_words()
    assert decide(STEEP, dear, Next(500, None), 0).buy == 500  # an unknown price is not too dear


def test_what_cannot_be_bought_ends_it_with_the_reason() -> None:
    found = decide(STEEP, ActiveConfig(), Next(0, 0.002, "the budget is used up"), 0)
    assert found.buy == 0 and found.in_words().endswith("the end: the budget is used up")


@pytest.mark.parametrize("gain", [None, Interval(0.01, 0.0, 0.02)])
def test_a_decision_is_json(gain: Interval | None) -> None:
    found = Decision(2, 1500, 0.8, gain, None, 500, "bought").to_json()
    assert found["said"] == "round 2: 1,500 rows bought, 80.0 %; bought"
    assert found["gain"] is None or found["gain"]["high"] == 0.02
