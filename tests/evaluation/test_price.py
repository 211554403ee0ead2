import pytest

from mwalimu.evaluation.price import price


def test_a_busy_machine_shares_its_hour_among_its_requests() -> None:
    found = price(usd_per_hour=1.8, requests_per_s=5.0, teacher_usd_per_1k=0.5)
    assert found == {
        "usd_per_hour": 1.8,
        "requests_per_hour": 18_000,
        "usd_per_1k": pytest.approx(0.1),
        # 3,600 requests of the teacher cost 1.80 dollars.
        "break_even_per_hour": pytest.approx(3600),
        "reachable": True,
    }


def test_a_dear_machine_never_breaks_even() -> None:
    found = price(usd_per_hour=100, requests_per_s=1.0, teacher_usd_per_1k=0.5)
    assert found and found["break_even_per_hour"] == 200_000 and found["reachable"] is False


def test_what_is_unknown_stays_unknown() -> None:
    assert price(usd_per_hour=None, requests_per_s=5.0, teacher_usd_per_1k=0.5) is None
    assert price(usd_per_hour=1.0, requests_per_s=None, teacher_usd_per_1k=0.5) is None
    for free in (None, 0.0):
        found = price(usd_per_hour=1.0, requests_per_s=5.0, teacher_usd_per_1k=free)
        assert found and found["break_even_per_hour"] is None and found["reachable"] is None
