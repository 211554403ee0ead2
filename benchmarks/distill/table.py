"""Results as markdown. An arm that did not run says so in its row."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median, quantiles
from typing import Any

from arms import ARMS, REFERENCE
from goals import MEMORY, TIME, Row, by_round, ratios, verdicts

HEAD = ("arm", "loss", "seconds", "of fused SFT", "peak less weights, MiB", "of fused SFT", "value")


def render(results: dict[str, Any]) -> str:
    rows, size = results["rows"], results["workload"]["size"]
    facts = [f"{key}: {value}" for key, value in results["machine"].items()]
    parts = ["; ".join(facts), _versions(results["versions"])]
    lines = [_line(HEAD), _line(["---", "---", *["--:"] * (len(HEAD) - 2)])]
    for arm in results["arms"]:
        lines.append(_line([arm, ARMS[arm].what, *_cells(rows, arm, results["not_run"].get(arm))]))
    goals = [_line(("goal", "median ratio", "")), _line(("---", "--:", "---"))]
    goals += [_line(verdict) for verdict in verdicts(rows, size)]
    return "\n\n".join([*parts, "\n".join(lines), "\n".join(goals)]) + "\n"


def _cells(rows: list[Row], arm: str, not_run: str | None) -> list[str]:
    mine = [row for row in rows if row["arm"] == arm]
    if not mine:
        return [f"not run: {not_run}", *["-"] * (len(HEAD) - 3)]
    # The same in every round, and in every arm that means the same loss.
    value = f"{mine[-1]['loss']:.5f} nats, gradient {mine[-1]['gradient_norm']:.5f}"
    return [
        spread(by_round(rows, arm, TIME).values(), ".3f"),
        spread(ratios(rows, arm, REFERENCE, TIME), ".2f"),
        spread(by_round(rows, arm, MEMORY).values(), ",.0f"),
        spread(ratios(rows, arm, REFERENCE, MEMORY), ".3f"),
        value + (f"; then {not_run}" if not_run else ""),
    ]


def spread(values: Iterable[float], form: str) -> str:
    """Median (first to third quartile)."""
    found = list(values)
    if not found:
        return "-"
    if len(found) == 1:
        return format(found[0], form)
    low, _, high = quantiles(found, n=4, method="inclusive")
    return f"{median(found):{form}} ({low:{form}} to {high:{form}})"


def _versions(versions: dict[str, dict[str, str]]) -> str:
    """Packages are the same in all arms of an environment."""
    packages = {f"{name} {number}" for found in versions.values() for name, number in found.items()}
    return "- " + ", ".join(sorted(packages))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
