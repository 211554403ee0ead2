from mwalimu.buying.forecast import Forecast, Point
from mwalimu.buying.telling import Told
from mwalimu.buying.wording import bought
from mwalimu.evaluation.statistics import Interval


def test_three_points_are_said_to_be_too_few() -> None:
    points = tuple(
        Point(rows, (1.0,) * right + (0.0,) * (100 - right))
        for rows, right in ((100, 50), (200, 60), (400, 68))
    )
    lines = list(Told(Forecast(points), (400,), 0.0015).lines())
    assert "3 points are too few" in lines[3] and "4 or more are needed" in lines[3]
    assert lines[4].startswith("400 more rows buy about +") and "for $0.60" in lines[4]


def test_what_may_be_nothing_is_called_so_and_an_unknown_price_is_not_named() -> None:
    sure = bought(2000, Interval(0.008, 0.002, 0.015), 3.0)
    assert sure == "2,000 more rows buy about +0.8 points [0.2, 1.5] for $3.00"
    unsure = bought(2000, Interval(0.008, 0.0, 0.015), None)
    assert unsure == "2,000 more rows buy about +0.8 points [0.0, 1.5], which may be nothing"


def test_the_size_asked_about_is_told() -> None:
    points = tuple(
        Point(rows, (1.0,) * right + (0.0,) * (100 - right), size)
        for size, bonus in ((10**6, 0), (10**7, 8), (10**8, 12))
        for rows, right in ((100, 50 + bonus), (200, 60 + bonus), (400, 68 + bonus))
    )
    told = Told(Forecast(points), (400,), None, parameters=10**9)
    assert list(told.lines())[-1].startswith("a student of 1,000,000,000 parameters: ")
    assert told.to_json()["size"]["low"] <= told.to_json()["size"]["high"]
