"""What every export has to keep (`export.require`): checked, published, and then insisted on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mwalimu.config import ExportRequireConfig
from mwalimu.errors import GateFailed
from mwalimu.evaluation.gate import check, in_words
from mwalimu.shipping.telling import rebuilt

Entry = Mapping[str, Any]
"""An export in the stage's summary."""


def gate(entry: Entry, require: ExportRequireConfig) -> dict[str, Any]:
    """As the gate of the evaluation: `passed` is None where nothing is required."""
    checks = [
        check(name, float(required), _measured(entry, name))
        for name, required in require.model_dump().items()
        if required is not None
    ]
    return {"passed": all(one["passed"] for one in checks) if checks else None, "checks": checks}


def require_passed(summary: Mapping[str, Any]) -> None:
    """Raises GateFailed naming every export that misses the gate, and by what."""
    exports = summary["exports"]
    missed = [_missed(entry) for entry in exports if entry["gate"]["passed"] is False]
    if missed:
        raise GateFailed(
            f"{len(missed)} of {len(exports)} exports miss the gate: {'; '.join(missed)}",
            where="export.require",
            fix="export to more bits, or lower what is required",
        )


def require_made(summary: Mapping[str, Any]) -> None:
    """Raises the error of the first target that could not be exported."""
    for failure in summary["failed"]:
        raise rebuilt(failure["error"])


def _missed(entry: Entry) -> str:
    checks = [check for check in entry["gate"]["checks"] if not check["passed"]]
    return f"{entry['name']} ({', '.join(map(in_words, checks))})"


def _measured(entry: Entry, name: str) -> float | None:
    performance = entry["performance"]
    difference, agreement = entry.get("difference"), entry.get("agreement")
    known: dict[str, float | None] = {
        "accuracy_drop": None if difference is None else max(0.0, -difference["mean"]),
        "agreement": None if agreement is None else agreement["answers"],
        "size_mib": entry["size_mib"],
        "memory_mib": performance["peak_memory_mib"] or entry["loaded_mib"],
        "latency_p95_s": performance["latency_p95_s"],
    }
    return known[name]
