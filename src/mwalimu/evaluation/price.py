"""Dollars: what a request costs on the student's machine, and when that beats the teacher."""

from __future__ import annotations

from typing import Any


def price(
    *, usd_per_hour: float | None, requests_per_s: float | None, teacher_usd_per_1k: float | None
) -> dict[str, Any] | None:
    """None where the machine's price or the student's speed is unknown.

    usd_per_1k: of a machine that is never idle: usd_per_hour / (3600 r) * 1000 at r requests a
    second. break_even_per_hour: requests an hour from which the machine, paid by the hour, is
    cheaper than the teacher, paid by the request; None where the teacher's price is unknown or
    nothing. reachable: whether one such machine can serve so many.
    """
    if usd_per_hour is None or not requests_per_s:
        return None
    most = 3600 * requests_per_s
    even = usd_per_hour / teacher_usd_per_1k * 1000 if teacher_usd_per_1k else None
    return {
        "usd_per_hour": usd_per_hour,
        "requests_per_hour": most,
        "usd_per_1k": usd_per_hour / most * 1000,
        "break_even_per_hour": even,
        "reachable": None if even is None else even <= most,
    }
