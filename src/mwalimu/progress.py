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
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

Callback = Callable[[str, int, int, str], None]
LINE_EVERY_S = 5.0


@contextmanager
def live_progress() -> Iterator[Callback]:
    """A callback (stage, done, total, note) that draws on stderr; of total 0 the note stays."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    with Progress(*_columns(), console=Console(stderr=True), expand=True) as bars:
        yield _Bars(bars)


def _columns() -> tuple[ProgressColumn, ...]:
    """On a narrow terminal the note is cut, never the numbers."""

    def wide(width: int) -> Column:
        return Column(width=width, no_wrap=True)

    note = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return (
        TextColumn("{task.description}", table_column=wide(26)),
        BarColumn(bar_width=12, table_column=wide(12)),
        MofNCompleteColumn(table_column=wide(13)),
        TimeElapsedColumn(table_column=wide(7)),
        TextColumn("left", table_column=wide(4)),
        TimeRemainingColumn(table_column=wide(7)),
        TextColumn("{task.fields[note]}", table_column=note),
    )


class _Bars:
    """A stage that is done when it is first told of is a line, not a bar."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if not total or (done == total and stage not in self.tasks):
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
