"""Which of the exports to ship: the most accurate that fits the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mwalimu.config import ExportConfig

Entry = Mapping[str, Any]


def pick(entries: Sequence[Entry], config: ExportConfig) -> dict[str, Any]:
    """`name` and `why`, in a line; the name is None where no export fits.

    Those that miss the gate are left out. Of equal accuracy the smallest is taken, of equal size
    the one with the least latency. Without test rows no accuracy is known, and nothing is picked.
    """
    scored = [entry for entry in entries if entry.get("accuracy")]
    if not scored:
        return {"name": None, "why": "nothing is picked: no export was measured on test rows"}
    fitting = [entry for entry in scored if entry["gate"]["passed"] is not False]
    fitting = [entry for entry in fitting if _fits(entry, config)]
    limits = _limits(config)
    if not fitting:
        least = min(scored, key=lambda entry: entry["size_mib"])
        return {"name": None, "why": f"no export fits{limits}; the smallest is {_told(least)}"}
    best = min(fitting, key=_rank)
    of = f"the most accurate of {len(fitting)} exports"
    if len(fitting) < len(scored) or limits:
        of += f" that fit{limits}, of {len(scored)}"
    return {"name": best["name"], "why": f"{_told(best)}: {of}"}


def _rank(entry: Entry) -> tuple[float, float, float]:
    latency = entry["performance"]["latency_p95_s"]
    return -entry["accuracy"]["mean"], entry["size_mib"], latency or 0.0


def _fits(entry: Entry, config: ExportConfig) -> bool:
    size, latency = entry["size_mib"], entry["performance"]["latency_p95_s"]
    if config.max_size_mib is not None and size > config.max_size_mib:
        return False
    return config.max_latency_s is None or (latency is not None and latency <= config.max_latency_s)


def _limits(config: ExportConfig) -> str:
    words = []
    if config.max_size_mib is not None:
        words.append(f"{config.max_size_mib:,.4g} MiB")
    if config.max_latency_s is not None:
        words.append(f"{1000 * config.max_latency_s:,.4g} ms (p95)")
    return f" {' and '.join(words)}" if words else ""


def _told(entry: Entry) -> str:
    latency = entry["performance"]["latency_p95_s"]
    speed = "" if latency is None else f", {1000 * latency:,.3g} ms (p95)"
    accuracy = 100 * entry["accuracy"]["mean"]
    return f"{entry['name']} ({accuracy:.1f} %, {entry['size_mib']:,.4g} MiB{speed})"
