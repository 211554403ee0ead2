"""Rate-limit headers -> RateLimits: OpenAI's and Azure's, Anthropic's, and the IETF draft's.

What cannot be read is None: a server's quirk must never stop a run.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from mwalimu.teachers.base import RateLimits, Window

WEEK_S = 7 * 86400.0  # a reset further away is a date in disguise, or nonsense
UNIT_S = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
PART = r"(\d+(?:\.\d*)?)(ns|us|µs|μs|ms|s|m|h)"
DURATION = re.compile(f"(?:{PART})+")
PARAMETER = re.compile(r"\b(limit|remaining|reset|q|w|r|t)\s*=\s*(\d+)")


def rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """None when there is no such header, the usual case of self-hosted servers."""
    found = {name: value for key, value in headers.items() if "ratelimit" in (name := key.lower())}
    if not found:
        return None
    if any(name.startswith("anthropic-") for name in found):
        return _anthropic(found, server_time(headers))
    if any(name.startswith("x-ratelimit-") for name in found):
        return RateLimits(_openai(found, "requests"), _openai(found, "tokens"))
    return RateLimits(requests=_ietf(found))


def _openai(found: Mapping[str, str], what: str) -> Window:
    reset_s = duration_s(found.get(f"x-ratelimit-reset-{what}"))
    limit = _limit(found.get(f"x-ratelimit-limit-{what}"))
    if what == "requests":
        limit = _of_a_minute(limit, reset_s)
    return Window(limit, _number(found.get(f"x-ratelimit-remaining-{what}")), reset_s)


def _anthropic(found: Mapping[str, str], now: float) -> RateLimits:
    def window(what: str) -> Window:
        prefix = f"anthropic-ratelimit-{what}"
        return Window(
            _limit(found.get(f"{prefix}-limit")),
            _number(found.get(f"{prefix}-remaining")),
            _until(found.get(f"{prefix}-reset"), now),
        )

    quotas = [window(what) for what in ("tokens", "input-tokens", "output-tokens")]
    known = [quota for quota in quotas if quota != Window()]
    return RateLimits(window("requests"), min(known, key=_fullness, default=Window()))


def _fullness(quota: Window) -> tuple[float, float]:
    """Orders quotas by the share that is left: the one that will run out first comes first.

    Of two that look untouched (the shares are rounded) the wider one: it must not slow anybody.
    """
    limit = quota.limit_per_minute
    if limit is None or quota.remaining is None:
        return 1.0, -(limit or 0.0)
    return quota.remaining / limit, -limit


def _ietf(found: Mapping[str, str]) -> Window:
    """`RateLimit-Limit: 100`, `RateLimit: limit=100, remaining=5`, `RateLimit: "x";r=5;t=30`."""
    policy = _parameters(found.get("ratelimit-policy", ""))
    combined = _parameters(found.get("ratelimit", ""))
    stated, _, detail = found.get("ratelimit-limit", "").partition(",")
    window = policy.get("w") or _parameters(detail).get("w")
    reset_s = duration_s(found.get("ratelimit-reset") or combined.get("reset") or combined.get("t"))
    limit = _limit(stated or combined.get("limit") or policy.get("q"))
    if limit is None or not window:
        limit = _of_a_minute(limit, reset_s)
    else:
        limit = limit * 60 / float(window) if float(window) else None
    left = found.get("ratelimit-remaining") or combined.get("remaining") or combined.get("r")
    return Window(limit, _number(left), reset_s)


def _parameters(text: str) -> dict[str, str]:
    """Of several quotas the first."""
    return dict(reversed(PARAMETER.findall(text)))


def _of_a_minute(limit: float | None, reset_s: float | None) -> float | None:
    """Some quotas of requests are a day's (Groq, free tiers); a minute's is full in a minute."""
    return None if reset_s is not None and reset_s > 60 else limit


def duration_s(text: str | None) -> float | None:
    """Go's durations ("6m0s", "20ms") and plain seconds."""
    if text is None:
        return None
    text = text.strip()
    if DURATION.fullmatch(text):
        seconds = sum(float(number) * UNIT_S[unit] for number, unit in re.findall(PART, text))
    elif (plain := _number(text)) is not None:
        seconds = plain
    else:
        return None
    return seconds if seconds <= WEEK_S else None


def _until(text: str | None, now: float) -> float | None:
    """Seconds to an RFC 3339 time, 0 when it is past."""
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    seconds = when.timestamp() - now
    return max(0.0, seconds) if seconds <= WEEK_S else None


def server_time(headers: Mapping[str, str]) -> float:
    """By the server's own clock, to which its resets refer; ours may be wrong."""
    try:
        return parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError):
        return time.time()


def _limit(text: str | None) -> float | None:
    return _number(text) or None  # a limit of nothing is no limit that one can keep


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
