"""Live progress on a terminal: one bar a stage with the time left; plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Callback = Callable[[str, int, int, str], None]
LINE_EVERY_S = 5.0


@contextmanager
def live_progress() -> Iterator[Callback]:
    """A callback (stage, done, total, note) that draws on stderr; of total 0 the note stays."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description:<26}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if not total:
            self.bars.console.print(f"{stage}: {note}", markup=False, highlight=False)
            return
        if stage not in self.tasks:
            self.tasks[stage] = self.bars.add_task(stage, total=total, note=note)
        self.bars.update(self.tasks[stage], completed=done, total=total, note=note)


class _Lines:
    """For logs: a line when a stage begins, ends, and every few seconds between."""

    def __init__(self) -> None:
        self.started: dict[str, float] = {}
        self.said: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if not total:
            print(f"{stage}: {note}", file=sys.stderr, flush=True)
            return
        now = time.monotonic()
        started = self.started.setdefault(stage, now)
        if done < total and now - self.said.get(stage, -LINE_EVERY_S) < LINE_EVERY_S:
            return
        self.said[stage] = now
        left = (now - started) / done * (total - done) if done else 0.0
        eta = f", {left:.0f} s left" if done < total and done else ""
        print(f"{stage}: {done}/{total}{eta} {note}".rstrip(), file=sys.stderr, flush=True)
