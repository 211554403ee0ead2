"""SIGKILL when half of the rows are billed, then the same command again until it ends well."""

from __future__ import annotations

import time
from pathlib import Path

from bench import Row, Settings, check, shown, tell
from processes import MockTeacher
from tools import Tool

TRIES = 3


def measure(settings: Settings, tools: list[Tool]) -> list[Row]:
    rows = []
    for number in range(settings.rounds):
        for tool in tools:
            row = {"tool": tool.name, "round": number + 1} | one(settings, tool)
            tell(f"crash, round {number + 1}, {tool.name}: {row}")
            rows.append(row)
    return rows


def one(settings: Settings, tool: Tool) -> Row:
    if why := tool.absent(settings.venvs):
        return {"not_run": why}
    with (
        MockTeacher(settings.latency, settings.jitter) as teacher,
        settings.folder(tool, teacher.url) as folder,
    ):
        client = settings.start(tool, folder, teacher.url)
        end = time.monotonic() + settings.limit
        while client.running() and teacher.count() < settings.n // 2 and time.monotonic() < end:
            time.sleep(0.001)
        client.kill()
        killed_at = teacher.count()
        if not settings.n // 2 <= killed_at < settings.n:
            last = " ".join(shown(folder)[-1:])
            return {"not_run": f"no kill at half: {killed_at:,} asked; {last}"}
        reruns = []
        while len(reruns) < TRIES and not any(rerun["exit"] == 0 for rerun in reruns):
            reruns.append(again(settings, tool, teacher, folder))
        hashes, _ = teacher.ledger()
        ended = reruns[-1]["exit"] == 0
        return {
            "killed_at": killed_at,
            "reruns": reruns,
            "ended": ended,
            "billed": len(hashes),
            "problems": check(tool, folder, settings.n, hashes),
            "shown": [] if ended else shown(folder)[-15:],
        }


def again(settings: Settings, tool: Tool, teacher: MockTeacher, folder: Path) -> Row:
    before, start = teacher.count(), time.monotonic()
    client = settings.start(tool, folder, teacher.url)
    code = client.wait(settings.limit)
    return {
        "exit": code,
        "stopped": client.stopped,
        "seconds": time.monotonic() - start,
        "asked": teacher.count() - before,
    }
