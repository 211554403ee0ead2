"""RSS of all processes of a tool: when a fifth of the rows is asked, when all are, and the peak."""

from __future__ import annotations

import time
from pathlib import Path

from bench import Row, Settings, check, shown, tell
from processes import Client, MockTeacher
from tools import Tool

EVERY_S = 0.04


def measure(settings: Settings, tools: list[Tool]) -> list[Row]:
    rows = []
    for number in range(settings.rounds):
        for tool in tools:
            row = {"tool": tool.name, "round": number + 1} | one(settings, tool)
            tell(f"memory, round {number + 1}, {tool.name}: {row.get('not_run') or row['peak']}")
            rows.append(row)
    return rows


def one(settings: Settings, tool: Tool) -> Row:
    if why := tool.absent(settings.venvs):
        return {"not_run": why}
    if not Path("/proc/self/stat").is_file():
        return {"not_run": "needs Linux's /proc"}
    with (
        MockTeacher(settings.latency, settings.jitter) as teacher,
        settings.folder(tool, teacher.url) as folder,
    ):
        client = settings.start(tool, folder, teacher.url)
        samples = sample(client, teacher, settings.limit)
        code = client.wait(1.0)
        hashes, _ = teacher.ledger()
        early, late = at(samples, settings.n // 5), at(samples, settings.n)
        problems = check(tool, folder, settings.n, hashes)
        whole = not code and not problems["missing"]
        return {
            "exit": code,
            "asked": len(hashes),
            "early": early,
            "late": late,
            "growth": late - early if whole else None,
            "peak": max(rss for _, rss, _ in samples),
            "processes": max(count for _, _, count in samples),
            "problems": {kind: count for kind, count in problems.items() if count},
            "shown": [] if whole else shown(folder)[-15:],
        }


def sample(client: Client, teacher: MockTeacher, limit_s: float) -> list[tuple[int, float, int]]:
    """(rows billed, MiB, processes) as long as the client lives, or until it is stopped."""
    samples = [(0, 0.0, 0)]
    end = time.monotonic() + limit_s
    while client.running():
        if time.monotonic() > end:
            client.kill()
            break
        rss, processes = client.memory()
        if rss:
            samples.append((teacher.count(), rss, processes))
        time.sleep(EVERY_S)
    return samples


def at(samples: list[tuple[int, float, int]], rows: int) -> float:
    """RSS of the first sample with so many rows billed, or of the last one."""
    return next((rss for count, rss, _ in samples if count >= rows), samples[-1][1])
