"""Forecasts as sentences."""

from __future__ import annotations

from mwalimu.evaluation.statistics import Interval

NOTHING = 0.05  # points: what would be printed as 0.0


def share(value: float) -> str:
    return f"{100 * value:.1f} %"


def interval(found: Interval) -> str:
    return f"{share(found.mean)} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def bought(rows: float, gain: Interval, usd: float | None) -> str:
    """ "2,000 more rows buy about +0.8 points [0.2, 1.5] for $3.00"."""
    mean, low, high = (100 * value for value in gain)
    said = f"{rows:,.0f} more rows buy about +{mean:.1f} points [{low:.1f}, {high:.1f}]"
    said += "" if usd is None else f" for ${usd:,.2f}"
    return said if low >= NOTHING else f"{said}, which may be nothing"
