"""The gate: whether a student is good enough for what comes next, be it an export or a release."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mwalimu.config import RequireConfig
from mwalimu.errors import GateFailed

Scores = Mapping[str, Any]


def gate(scores: Scores, require: RequireConfig) -> dict[str, Any]:
    """The verdict on the distilled student of scores.json, its last arm.

    `passed` is None where nothing is required. Each of `checks` has its `name`, the `required`
    value, the `measured` one (None where unknown, which is a failure) and whether it `passed`.
    """
    checks = [
        check(name, float(required), _MEASURED[name](scores))
        for name, required in require.model_dump().items()
        if required is not None
    ]
    passed = all(check["passed"] for check in checks) if checks else None
    return {"passed": passed, "checks": checks}


def require_passed(scores: Scores) -> None:
    """Raises GateFailed naming every requirement that the verdict in `scores` says is missed."""
    verdict = scores.get("verdict") or {}
    if verdict.get("passed") is not False:
        return
    missed = [check for check in verdict["checks"] if not check["passed"]]
    raise GateFailed(
        "the student misses the gate: " + ", ".join(map(in_words, missed)),
        where="evaluate.require",
        fix="train a better student, or lower what is required",
    )


def check(name: str, required: float, measured: float | None) -> dict[str, Any]:
    """One requirement, held against what was measured; what is unknown fails."""
    if measured is None:
        passed = False
    else:
        passed = measured <= required if name in AT_MOST else measured >= required
    return {"name": name, "required": required, "measured": measured, "passed": passed}


def in_words(check: Mapping[str, Any]) -> str:
    name, required, measured = check["name"], check["required"], check["measured"]
    if measured is None:
        return f"{name} is unknown ({required:g} required)"
    return f"{name} {measured:.4g} ({'at most ' if name in AT_MOST else ''}{required:g} required)"


def _of_student(key: str) -> Callable[[Scores], Any]:
    def find(scores: Scores) -> Any:
        return scores["arms"][-1].get(key)

    return find


def _mean_of(value: Mapping[str, Any] | None) -> float | None:
    return None if value is None else value["mean"]


AT_MOST = frozenset(
    {"latency_p95_s", "calibration_error", "accuracy_drop", "size_mib", "memory_mib"}
)
_MEASURED: dict[str, Callable[[Scores], float | None]] = {
    "accuracy": lambda scores: _mean_of(_of_student("accuracy")(scores)),
    "retention": lambda scores: _mean_of(scores.get("retention")),
    "macro_f1": _of_student("macro_f1"),
    "agreement": _of_student("agreement"),
    "latency_p95_s": _of_student("latency_p95_s"),
    "calibration_error": lambda scores: (_of_student("calibration")(scores) or {}).get("ece"),
}
