"""The verdict: computed from the numbers, and honest when they are not flattering."""

from __future__ import annotations

import math
from collections.abc import Iterable

from mwalimu.report.wording import (
    ARM_NOTES,
    BEFORE,
    DISTILLED,
    LABELS,
    TEACHER,
    UNKNOWN,
    Row,
    number,
    p_value,
    percent,
    usd,
)

ALPHA = 0.05
RISE = 1.02  # a validation loss this many times its best is called a rise


def verdict(scores: Row | None, training: Row, *, test_given: bool = False) -> str:
    arms = by_name(scores)
    if scores is None or DISTILLED not in arms:
        why = "The evaluate stage is not finished" if test_given else "No test file was given"
        loss = training.get("validation_loss")
        reached = "" if loss is None else f"; its validation loss is {number(loss, 3)}"
        return f"{why}, so how well the student does on held-out rows is unknown{reached}."
    if scores["retention"]:
        lead = f"keeps {percent(scores['retention']['mean'])} of the teacher's accuracy"
        lead += _at_cost(scores)
        gains = " and ".join(f"{size} {what}" for size, what in _gains(arms))
        lead += f" with {gains}" if gains else ""
    else:
        accuracy = percent(arms[DISTILLED]["accuracy"]["mean"])
        lead = f"reaches an accuracy of {accuracy} on {scores['rows']:,} held-out rows"
    return f"The distilled student {lead}{_compared(scores['comparisons'])}.{_gate(scores)}"


def _gate(scores: Row) -> str:
    """What evaluate.require says, if it asks for anything."""
    found = scores.get("verdict") or {}
    checks = found.get("checks", [])
    if found.get("passed") is None:
        return ""
    if found["passed"]:
        return " It passes the gate: " + ", ".join(map(_check, checks)) + "."
    missed = [check for check in checks if not check["passed"]]
    return " It misses the gate: " + ", ".join(map(_check, missed)) + "."


def _check(check: Row) -> str:
    words = check["name"].replace("_", " ")
    measured = UNKNOWN if check["measured"] is None else f"{check['measured']:.3g}"
    return f"{words} {measured} where {check['required']:.3g} is required"


def _at_cost(scores: Row) -> str:
    """ " at 3.1 % of its cost", where both prices are known."""
    price = (scores.get("price") or {}).get("usd_per_1k")
    teacher = by_name(scores).get(TEACHER, {}).get("usd_per_1k")
    return f" at {percent(price / teacher)} of its cost" if price and teacher else ""


def _gains(arms: dict[str, Row]) -> list[tuple[str, str]]:
    """("8.3x", "fewer parameters"); a measure that is unknown or alike for both is left out."""
    student, teacher = arms[DISTILLED], arms.get(TEACHER, {})
    found = []
    for key, less, more in (
        ("parameters", "fewer parameters", "more parameters"),
        ("latency_p50_s", "lower latency", "higher latency"),
    ):
        own, other = student.get(key), teacher.get(key)
        if own and other and not 0.95 < own / other < 1.05:
            size, what = (other / own, less) if own < other else (own / other, more)
            found.append((f"{size:.1f}x", what))
    return found


def _compared(comparisons: list[Row]) -> str:
    """With the labels arm; with the untouched student where there were no labels."""
    own = {c["against"]: c for c in comparisons if c["arm"] == DISTILLED}
    against = LABELS if LABELS in own else BEFORE
    if against not in own:
        return ""
    p, difference = own[against]["p_value"], own[against]["difference"]["mean"]
    if p is None:
        return f"; whether it is better than {ARM_NOTES[against]} was not tested"
    better = "significantly better" if difference > 0 else "significantly worse"
    how = better if p < ALPHA else "not significantly better"
    return f"; it is {how} than {ARM_NOTES[against]} ({p_value(p)})"


def headline(scores: Row | None, ledger: Row | None) -> list[tuple[str, str]]:
    """The few numbers at the top of the page, each with what it is."""
    tiles: list[tuple[str, str]] = []
    arms = by_name(scores)
    if scores and DISTILLED in arms:
        what = "of the teacher's accuracy" if scores["retention"] else "accuracy on held-out rows"
        chosen = scores["retention"] or arms[DISTILLED]["accuracy"]
        gains = [(size, f"{gain} than the teacher") for size, gain in _gains(arms)]
        tiles = [(percent(chosen["mean"]), what), *gains]
    if ledger:
        tiles.append((usd(ledger.get("usd")), "cost of the teacher's answers"))
    return tiles


def training_hint(metrics: list[Row]) -> str:
    """What the validation losses say about over-fitting."""
    losses = curve(metrics, "validation_loss")
    if not losses:
        return "There were no validation rows, so over-fitting cannot be seen."
    best, last = min(losses, key=lambda point: point[1]), losses[-1]
    if last[1] > best[1] * RISE:
        return (
            f"The validation loss rose from {best[1]:.3f} (epoch {best[0]:g}) to {last[1]:.3f} "
            f"(epoch {last[0]:g}), a sign of over-fitting; the student of epoch {best[0]:g} is "
            "the one that was kept."
        )
    if len(losses) > 1 and losses[-2][1] > last[1] * RISE:
        return "The validation loss was still falling at the end: more epochs may help."
    return "The validation loss had levelled off at the end, without a sign of over-fitting."


def curve(metrics: Iterable[Row], key: str) -> list[tuple[float, float]]:
    return [(m["epoch"], m[key]) for m in metrics if key in m and math.isfinite(m[key])]


def by_name(scores: Row | None) -> dict[str, Row]:
    return {arm["name"]: arm for arm in (scores or {}).get("arms", [])}
