"""docs/trust.md out of what was recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.trust.table import Figure

HEAD = """# Reliability and security, as figures
Written by `make trust` (`python -m benchmarks.trust`), not by hand. A figure is the sum of what its
tests tried, with the time of all of them on the machine of the run. "Not run" is not run, or needs
what this machine lacks; "failed" has a test that failed. No failure among n random tries bounds the
rate of failure at about 3 / n (95 %): a thousand kills say "under 0.3 % a kill" and no more, which
is why R2 and R4 go through every case instead.

| | what | goal | tried | failed | seed | time | commit |
|---|---|---|--:|--:|--:|--:|---|
"""


def page(figures: Iterable[Figure], results: Mapping[str, Mapping[str, Any]]) -> str:
    figures = list(figures)
    rows = [_row(figure, results.get(figure.number)) for figure in figures]
    parts = [_part(figure, results[figure.number]) for figure in figures if _told(figure, results)]
    return HEAD + "\n".join(rows) + "\n\n" + "\n".join(parts)


def _told(figure: Figure, results: Mapping[str, Mapping[str, Any]]) -> bool:
    return figure.number in results


def _row(figure: Figure, result: Mapping[str, Any] | None) -> str:
    cells = [figure.number, figure.title, figure.goal]
    if result is None or (result["passed"] and not result["ran"]):
        return _line([*cells, "not run", "", "", "", ""])
    lines = result["recorded"]
    tried = f"{sum(line['tried'] for line in lines):,}" if lines else "its tests"
    failed = f"{sum(line['failed'] for line in lines):,}" if result["passed"] else "**failed**"
    seeds = sorted({str(line["seed"]) for line in lines if line["seed"] is not None})
    form = " (short)" if result["short"] else ""
    cells += [tried + form, failed, ", ".join(seeds[:3]), f"{result['seconds']:,.0f} s"]
    return _line([*cells, result["commit"]])


def _part(figure: Figure, result: Mapping[str, Any]) -> str:
    """What stands behind a row: by kind, with the worst that was seen."""
    by_kind: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for line in result["recorded"]:
        by_kind[line["what"]].append(line)
    said = [f"**{figure.number}** `pytest {' '.join(figure.tests)}`"]
    said += [f"- left out here: {why}" for why in result["skipped"]]
    for kind, lines in by_kind.items():
        notes = "; ".join(sorted({line["note"] for line in lines if line["note"]})[:3])
        count = sum(line["tried"] for line in lines)
        failed = sum(line["failed"] for line in lines)
        told = f"- {kind}: {count:,}" + (f", {failed:,} failed" if failed else "")
        said.append(told + (f"; {notes}" if notes else ""))
    return "\n".join([*said, ""])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
