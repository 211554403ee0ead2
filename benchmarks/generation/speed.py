"""Rows a second, in rounds: every tool once a round, each against the bare client of that round."""

from __future__ import annotations

import time

from bench import Row, Settings, check, shown, tell
from processes import MockTeacher
from tools import Tool


def measure(settings: Settings, tools: list[Tool]) -> list[Row]:
    rows = []
    for number in range(settings.rounds):
        for tool in tools:
            row = {"tool": tool.name, "round": number + 1} | one(settings, tool)
            took = f" in {row['seconds']:.1f} s" if "seconds" in row else ""
            tell(f"speed, round {number + 1}, {tool.name}{took}: {summary(row)}")
            rows.append(row)
    return rows


def one(settings: Settings, tool: Tool) -> Row:
    if why := tool.absent(settings.venvs):
        return {"not_run": why}
    with (
        MockTeacher(settings.latency, settings.jitter) as teacher,
        settings.folder(tool, teacher.url) as folder,
    ):
        start = time.monotonic()
        client = settings.start(tool, folder, teacher.url)
        code = client.wait(settings.limit)
        seconds = time.monotonic() - start
        hashes, times = teacher.ledger()
        problems = check(tool, folder, settings.n, hashes)
        row: Row = {
            "exit": code,
            "stopped": client.stopped,
            "seconds": seconds,
            "asked": len(hashes),
            "req": rate(times),
            "wall": settings.n / seconds,
            "problems": {kind: count for kind, count in problems.items() if count},
        }
        if code or row["problems"]:
            row["shown"] = shown(folder)[-15:]
        # A run that did not do the job has no speed; one that was stopped has one so far.
        if client.stopped or code or problems["missing"]:
            row["wall"] = None
        if code and not client.stopped:
            row["req"] = None
        return row


def rate(times: list[float]) -> float | None:
    """Between the first and the last line of the ledger: the tool at work, without its start."""
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else None


def summary(row: Row) -> str:
    """A line on how it went."""
    if "not_run" in row:
        return f"not run: {row['not_run']}"
    notes = [f"{count:,} {kind.replace('_', ' ')}" for kind, count in row["problems"].items()]
    if row["stopped"]:
        notes.insert(0, f"stopped after {row['seconds']:.0f} s, {row['asked']:,} asked")
    elif row["exit"]:
        notes.insert(0, f"exit {row['exit']}: {(row.get('shown') or [''])[-1][:120]}")
    return "; ".join(notes) or "all rows"
