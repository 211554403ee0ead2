"""What stage 1 is meant to reach, and whether a section of results does."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

Section = dict[str, Any]  # {"kind", "settings", "rows"}

OF_BARE_AT_ONCE, OF_BARE_AT_50_MS = 0.50, 0.97
TIMES_PEER = {"curator": 6, "data_designer": 10, "distilabel": 10}
GROWTH_MIB, PEAK_MIB = 20 * 1e6 / 2**20, 150 * 1e6 / 2**20  # the goals are in MB


def lines(section: Section) -> list[str]:
    judges = {"speed": _speed, "memory": _memory, "crash": _crash}
    return judges[section["kind"]](section) if section["kind"] in judges else []


def by_round(section: Section, tool: str, key: str) -> dict[int, float]:
    """A figure of the rounds that have one."""
    rows = [row for row in section["rows"] if row["tool"] == tool]
    return {row["round"]: row[key] for row in rows if row.get(key) is not None}


def ratios(section: Section, tool: str, other: str, key: str) -> list[float]:
    """Of `tool` to `other` of the same round."""
    mine, theirs = by_round(section, tool, key), by_round(section, other, key)
    return [mine[number] / theirs[number] for number in sorted(mine.keys() & theirs.keys())]


def _speed(section: Section) -> list[str]:
    latency = section["settings"]["latency"]
    found = []
    if latency == 0 or latency == 50:
        least = OF_BARE_AT_50_MS if latency else OF_BARE_AT_ONCE
        text = f"req at least {least:.0%} of bare at {latency:g} ms"
        found.append(_verdict(text, ratios(section, "ours", "bare", "req"), lambda x: x >= least))
    for peer, times in TIMES_PEER.items() if latency == 0 else ():
        text = f"req at least {times} times {peer}"
        values = ratios(section, "ours", peer, "req")
        found.append(_verdict(text, values, lambda x, times=times: x >= times))
    return found


def _memory(section: Section) -> list[str]:
    n = section["settings"]["n"]
    growth = list(by_round(section, "ours", "growth").values())
    # Only of runs that did the job, which are those with a growth.
    rows = [
        row for row in section["rows"] if row["tool"] == "ours" and row.get("growth") is not None
    ]
    peak = [row["peak"] for row in rows]
    text = f"RSS grows by less than {GROWTH_MIB:.0f} MiB (20 MB) from {n // 5:,} to {n:,} rows"
    return [
        _verdict(text, growth, lambda x: x < GROWTH_MIB),
        _verdict(f"peak below {PEAK_MIB:.0f} MiB (150 MB)", peak, lambda x: x < PEAK_MIB),
    ]


def _crash(section: Section) -> list[str]:
    """Only what was in flight may be billed twice; nothing may be missing or doubled."""
    limit = section["settings"]["concurrency"]
    rows = [row for row in section["rows"] if row["tool"] == "ours" and "problems" in row]
    twice = [float(row["problems"]["billed_twice"]) for row in rows]
    bad = [float(row["problems"]["missing"] + row["problems"]["duplicated"]) for row in rows]
    return [
        _verdict(f"at most {limit} billed twice", twice, lambda x: x <= limit),
        _verdict("no row missing or duplicated after a kill", bad, lambda x: x == 0),
    ]


def _verdict(text: str, values: list[float], met: Callable[[float], bool]) -> str:
    """Judged by the median; every round is shown."""
    if not values:
        return f"- goal: {text}: **not measured**"
    shown = ", ".join(f"{value:.3g}" for value in values)
    return f"- goal: {text}: **{'met' if met(median(values)) else 'not met'}** ({shown})"
