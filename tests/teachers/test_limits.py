"""Rate-limit headers of every family, and what is no such header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from mwalimu.teachers.base import RateLimits, Window
from mwalimu.teachers.limits import duration_s, rate_limits

DATE = {"Date": "Thu, 21 Aug 2025 12:41:00 GMT"}


def test_a_server_without_limits_has_none() -> None:
    assert rate_limits({}) is None
    assert rate_limits({"Content-Type": "application/json", "Date": "x", "Server": "y"}) is None


def test_openai() -> None:
    headers = CIMultiDict(
        {
            "X-RateLimit-Limit-Requests": "60",
            "x-ratelimit-limit-tokens": "150000",
            "x-ratelimit-remaining-requests": "59",
            "x-ratelimit-remaining-tokens": "149984",
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-reset-tokens": "6m0s",
        }
    )
    assert rate_limits(headers) == RateLimits(
        Window(60.0, 59.0, 1.0), Window(150_000.0, 149_984.0, 360.0)
    )


def test_azure_gives_some_of_them_and_plain_seconds() -> None:
    headers = {"x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-requests": "42"}
    assert rate_limits(headers) == RateLimits(requests=Window(None, 9.0, 42.0))


def test_a_days_quota_of_requests_is_no_rate() -> None:
    headers = {
        "x-ratelimit-limit-requests": "14400",
        "x-ratelimit-remaining-requests": "14370",
        "x-ratelimit-reset-requests": "2m59.56s",
    }
    assert rate_limits(headers) == RateLimits(requests=Window(None, 14370.0, 179.56))


ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "1000",
    "anthropic-ratelimit-requests-remaining": "999",
    "anthropic-ratelimit-requests-reset": "2025-08-21T12:41:06Z",
    "anthropic-ratelimit-tokens-limit": "96000",
    "anthropic-ratelimit-tokens-remaining": "95000",
    "anthropic-ratelimit-tokens-reset": "2025-08-21T12:41:00Z",
    "anthropic-ratelimit-input-tokens-limit": "80000",
    "anthropic-ratelimit-input-tokens-remaining": "79000",
    "anthropic-ratelimit-input-tokens-reset": "2025-08-21T12:41:10Z",
    "anthropic-ratelimit-output-tokens-limit": "16000",
    "anthropic-ratelimit-output-tokens-remaining": "16000",
    "anthropic-ratelimit-output-tokens-reset": "2025-08-21T12:41:20Z",
}


@pytest.mark.parametrize(
    ("left", "tighter"),
    [
        ({}, Window(80_000.0, 79_000.0, 10.0)),
        ({"output-tokens": "4000"}, Window(16_000.0, 4_000.0, 20.0)),
        ({"input-tokens": "8000"}, Window(80_000.0, 8_000.0, 10.0)),
        ({"tokens": "0"}, Window(96_000.0, 0.0, 0.0)),
        # All untouched, as the rounded counts say: the widest, which slows nobody.
        ({"tokens": "96000", "input-tokens": "80000"}, Window(96_000.0, 96_000.0, 0.0)),
    ],
)
def test_anthropics_windows_are_not_crossed(left: dict[str, str], tighter: Window) -> None:
    """Limit, remaining and reset are always of one window, the one with the least share left."""
    changed = {f"anthropic-ratelimit-{name}-remaining": value for name, value in left.items()}
    limits = rate_limits(DATE | ANTHROPIC | changed)
    assert limits == RateLimits(Window(1000.0, 999.0, 6.0), tighter)


def test_a_reset_is_counted_by_the_servers_clock_and_never_negative() -> None:
    late = {"anthropic-ratelimit-requests-reset": "2025-08-21T12:40:00+00:00"}
    limits = rate_limits(DATE | late)
    assert limits is not None and limits.requests.reset_s == 0.0
    without_date = rate_limits({"anthropic-ratelimit-requests-reset": "2020-01-01T00:00:00Z"})
    assert without_date is not None and without_date.requests.reset_s == 0.0


@pytest.mark.parametrize(
    ("headers", "window"),
    [
        (
            {"RateLimit-Limit": "100", "RateLimit-Remaining": "5", "RateLimit-Reset": "30"},
            Window(100.0, 5.0, 30.0),
        ),
        ({"RateLimit-Limit": "10, 10;w=1, 1000;w=3600"}, Window(600.0, None, None)),
        ({"RateLimit": "limit=100, remaining=50, reset=5"}, Window(100.0, 50.0, 5.0)),
        (
            {"RateLimit": '"default";r=50;t=30', "RateLimit-Policy": '"default";q=100;w=30'},
            Window(200.0, 50.0, 30.0),
        ),
        ({"RateLimit-Limit": "100", "RateLimit-Reset": "3000"}, Window(None, None, 3000.0)),
    ],
)
def test_the_drafts_of_the_ietf(headers: dict[str, str], window: Window) -> None:
    assert rate_limits(headers) == RateLimits(requests=window)


@pytest.mark.parametrize("value", ["", "many", "nan", "inf", "-1", "0x10", "1e999", "\x00", "٣"])
def test_garbage_is_unknown(value: str) -> None:
    kinds = [f"{k}-{w}" for k in ("limit", "remaining", "reset") for w in ("requests", "tokens")]
    limits = rate_limits({f"x-ratelimit-{kind}": value for kind in kinds})
    assert limits is not None
    if value != "٣":  # Python reads these digits too, and that harms nobody
        assert limits == RateLimits()
    assert rate_limits({f"anthropic-ratelimit-{k}-reset": value for k in kinds}) == RateLimits()


def test_a_limit_of_zero_is_not_believed() -> None:
    limits = rate_limits({"x-ratelimit-limit-tokens": "0", "x-ratelimit-remaining-tokens": "0"})
    assert limits == RateLimits(tokens=Window(None, 0.0, None))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("1s", 1.0),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("150µs", 150e-6),
        ("7", 7.0),
        ("0.5", 0.5),
        ("0s", 0.0),
        (" 1s ", 1.0),
        ("s", None),
        ("1d", None),
        ("-1s", None),
        ("1s ago", None),
        ("1755780000", None),  # a time, not a duration
        (None, None),
    ],
)
def test_durations(text: str | None, seconds: float | None) -> None:
    assert duration_s(text) == (seconds if seconds is None else pytest.approx(seconds))


NAMES = st.sampled_from([*ANTHROPIC, "x-ratelimit-limit-requests", "x-ratelimit-reset-tokens"])
IETF = st.sampled_from(["ratelimit", "ratelimit-limit", "ratelimit-policy", "ratelimit-reset"])


@given(st.dictionaries(NAMES | IETF | st.just("Date"), st.text(max_size=30)))
def test_no_text_whatever_raises(headers: dict[str, str]) -> None:
    limits = rate_limits(headers)
    for window in limits or ():
        assert all(value is None or 0 <= value < float("inf") for value in window)
