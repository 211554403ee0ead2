"""The stage export in the report: what each export costs and keeps, and which of them to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mwalimu.report import pareto
from mwalimu.report.wording import Row


def trade_offs(exports: Row | None) -> str | None:
    """The plot of accuracy against size and against latency; None without measured exports.

    Raises ImportError without matplotlib.
    """
    measured = [entry for entry in _entries(exports) if entry["accuracy"]]
    if not measured:
        return None
    panels = {
        "size, MiB": _spots(measured, "size_mib", 1.0),
        "latency p95, ms": _spots(measured, "latency_p95_s", 1000.0),
    }
    return pareto.trade_offs({title: found for title, found in panels.items() if found})


def gate_word(entry: Mapping[str, Any]) -> str:
    passed = entry["gate"]["passed"]
    if passed is None:
        return "none"
    missed = [check["name"] for check in entry["gate"]["checks"] if not check["passed"]]
    return "passed" if passed else f"misses {', '.join(missed)}".replace("_", " ")


def _entries(exports: Row | None) -> list[Row]:
    return list((exports or {}).get("exports", []))


def _spots(entries: Sequence[Row], key: str, by: float) -> list[pareto.Spot]:
    """Those whose cost is known, times `by`; a logarithm has no place for none at all."""
    found = [(entry, entry.get(key, entry["performance"].get(key))) for entry in entries]
    return [
        pareto.Spot(e["name"], e["format"], e["precision"], by * cost, e["accuracy"]["mean"])
        for e, cost in found
        if cost
    ]
