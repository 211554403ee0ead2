"""How work tells its progress, and the terminal's view of it: a bar a stage, or plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.progress

Progress = Callable[[str, int, int, str], None]
"""Called with (stage, done, total, note); of total 0 the note stands alone."""

LINE_EVERY_S = 5.0


def silent(stage: str, done: int, total: int, note: str) -> None:
    """The progress of those who watch none."""


@contextmanager
def live_progress() -> Iterator[Progress]:
    """One that draws on stderr: bars with the time left on a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    # Every room imports this one: rich is loaded where something is drawn.
    from rich import progress as drawn
    from rich.console import Console

    with drawn.Progress(*_columns(), console=Console(stderr=True), expand=True) as bars:
        yield _Bars(bars)


def _columns() -> tuple[rich.progress.ProgressColumn, ...]:
    """On a narrow terminal the note is cut, never the numbers."""
    from rich import progress as drawn
    from rich.table import Column

    def wide(width: int) -> Column:
        return Column(width=width, no_wrap=True)

    note = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return (
        drawn.TextColumn("{task.description}", table_column=wide(26)),
        drawn.BarColumn(bar_width=12, table_column=wide(12)),
        drawn.MofNCompleteColumn(table_column=wide(13)),
        drawn.TimeElapsedColumn(table_column=wide(7)),
        drawn.TextColumn("left", table_column=wide(4)),
        drawn.TimeRemainingColumn(table_column=wide(7)),
        drawn.TextColumn("{task.fields[note]}", table_column=note),
    )


class _Bars:
    """A stage that is done when it is first told of is a line, not a bar."""

    def __init__(self, bars: rich.progress.Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, rich.progress.TaskID] = {}

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
