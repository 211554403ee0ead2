"""Wrong input and a dead server: exit code, what was billed, and what the user is told."""

from __future__ import annotations

import time

from bench import Row, Settings, check, shown, tell
from processes import MockTeacher, closed_url
from tools import Tool

CASES = ("a row without a prompt", "server down")


def measure(settings: Settings, tools: list[Tool]) -> list[Row]:
    rows = []
    for case in CASES:
        for tool in tools:
            row = {"tool": tool.name, "case": case} | one(settings, tool, case)
            tell(f"{case}, {tool.name}: {row.get('not_run') or row['exit']}")
            rows.append(row)
    return rows


def one(settings: Settings, tool: Tool, case: str) -> Row:
    if why := tool.absent(settings.venvs):
        return {"not_run": why}
    down = case == "server down"
    with MockTeacher(settings.latency, settings.jitter) as teacher:
        url = closed_url() if down else teacher.url
        bad = -1 if down else settings.n // 2
        with settings.folder(tool, url, without_prompt=bad) as folder:
            start = time.monotonic()
            client = settings.start(tool, folder, url)
            code = client.wait(settings.limit)
            seconds = time.monotonic() - start
            hashes, _ = teacher.ledger()
            lines = shown(folder)
            return {
                "exit": code,
                "stopped": client.stopped,
                "seconds": seconds,
                "billed": len(hashes),
                "rows": sum(1 for _ in tool.answers(folder)),
                "problems": check(tool, folder, settings.n, hashes),
                "lines": len(lines),
                "shown": lines[-15:],
            }
