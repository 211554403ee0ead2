"""Results as markdown. A thing that did not run says so in its row."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

import goals
import speed
from goals import Section, by_round, ratios

HEADS = {
    "speed": ("tool", "req rows/s", "of bare (rounds)", "wall rows/s", "of bare (rounds)", "rows"),
    "memory": ("tool", "RSS at {fifth}, MiB", "at {n}", "growth", "peak", "processes", "rows"),
    "crash": ("tool", "killed at", "reruns", "billed twice", "missing / duplicated", "last line"),
    "wrong": ("tool", "exit", "seconds", "billed", "rows out (null, wrong)", "lines", "last line"),
}


def render(results: dict[str, Any]) -> str:
    facts = [f"{key}: {value}" for key, value in results["machine"].items()]
    versions = [
        f"{tool}: " + (", ".join(f"{p} {v}" for p, v in found.items()) or "not installed")
        for tool, found in results["versions"].items()
    ]
    parts = ["; ".join(facts), "\n".join(f"- {line}" for line in versions)]
    parts += [section(found) for found in results["sections"]]
    return "\n\n".join(parts) + "\n"


def section(found: Section) -> str:
    settings = found["settings"]
    title = (
        f"## {found['kind']}: {settings['n']:,} rows, {settings['latency']:g}"
        f"±{settings['jitter']:g} ms, {settings['concurrency']} in flight"
    )
    if found["kind"] == "sustain":
        (row,) = found["rows"]
        speeds = f"{row['per_s']:,.0f} requests/s; {row['per_cpu_s']:,.0f} a second of its CPU time"
        return f"{title}\nThe mock teacher answers {speeds}."
    tables = [_table(found, rows, name) for name, rows in _groups(found).items()]
    return "\n".join([title, *tables, "", *goals.lines(found)]).rstrip()


def _groups(found: Section) -> dict[str, list[dict[str, Any]]]:
    """One table a section; for wrong input one a case."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in found["rows"]:
        groups.setdefault(row.get("case", ""), []).append(row)
    return groups


def _table(found: Section, rows: list[dict[str, Any]], name: str) -> str:
    n = found["settings"]["n"]
    heads = [head.format(fifth=f"{n // 5:,}", n=f"{n:,}") for head in HEADS[found["kind"]]]
    lines = [f"\n{name}:\n"] if name else []
    lines += [_line(heads), _line(["---"] + ["--:"] * (len(heads) - 2) + ["---"])]
    for tool in dict.fromkeys(row["tool"] for row in rows):
        mine = [row for row in rows if row["tool"] == tool]
        if absent := [row["not_run"] for row in mine if "not_run" in row]:
            lines.append(_line([tool, *["-"] * (len(heads) - 2), f"not run: {absent[0]}"]))
        mine = [row for row in mine if "not_run" not in row]
        if mine:
            lines.append(_line([tool, *CELLS[found["kind"]](found, tool, mine)]))
    return "\n".join(lines)


def _speed(found: Section, tool: str, rows: list[dict[str, Any]]) -> list[str]:
    cells = []
    for key in ("req", "wall"):
        cells.append(_median(by_round(found, tool, key).values(), ",.0f"))
        cells.append(_spread(ratios(found, tool, "bare", key)))
    return [*cells, _unique(speed.summary(row) for row in rows)]


def _memory(found: Section, tool: str, rows: list[dict[str, Any]]) -> list[str]:
    cells = [
        _median((row[key] for row in rows if row[key] is not None), form)
        for key, form in (("early", ".0f"), ("late", ".0f"), ("growth", "+.1f"), ("peak", ".0f"))
    ]
    bad = [row for row in rows if row["growth"] is None]
    note = "all rows" if not bad else f"exit {bad[0]['exit']}, {bad[0]['asked']:,} asked"
    return [*cells, str(max(row["processes"] for row in rows)), note]


def _crash(found: Section, tool: str, rows: list[dict[str, Any]]) -> list[str]:
    problems = [row["problems"] for row in rows]
    reruns = [
        f"{len(row['reruns'])}, " + ("ends" if row["ended"] else _failure(row["reruns"]))
        for row in rows
    ]
    return [
        ", ".join(f"{row['killed_at']:,}" for row in rows),
        _unique(reruns),
        ", ".join(f"{found['billed_twice']:,}" for found in problems),
        ", ".join(f"{found['missing']:,} / {found['duplicated']:,}" for found in problems),
        _unique(_last(row) for row in rows),
    ]


def _failure(reruns: list[dict[str, Any]]) -> str:
    last = reruns[-1]
    if last["stopped"]:
        asked = sum(rerun["asked"] for rerun in reruns)
        return f"**never ends**: each stopped after {last['seconds']:.0f} s, {asked:,} asked"
    return f"**fails**: exit {last['exit']}"


def _wrong(found: Section, tool: str, rows: list[dict[str, Any]]) -> list[str]:
    (row,) = rows
    return [
        "stopped" if row["stopped"] else str(row["exit"]),
        f"{row['seconds']:.1f}",
        f"{row['billed']:,}",
        f"{row['rows']:,} ({row['problems']['null']:,}, {row['problems']['wrong']:,})",
        f"{row['lines']:,}",
        _last(row),
    ]


CELLS = {"speed": _speed, "memory": _memory, "crash": _crash, "wrong": _wrong}


def _last(row: dict[str, Any]) -> str:
    """The last line that the user saw."""
    line = row["shown"][-1] if row["shown"] else ""
    return line[:200] + ("..." if len(line) > 200 else "")


def _median(values: Iterable[float], form: str) -> str:
    found = list(values)
    return format(median(found), form) if found else "-"


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{median(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})"


def _unique(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
