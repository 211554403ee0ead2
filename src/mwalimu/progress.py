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

    columns = (
        drawn.TextColumn("{task.description:<26}"),
        drawn.BarColumn(bar_width=30),
        drawn.MofNCompleteColumn(),
        drawn.TimeElapsedColumn(),
        drawn.TextColumn("left"),
        drawn.TimeRemainingColumn(),
        drawn.TextColumn("{task.fields[note]}"),
    )
    with drawn.Progress(*columns, console=Console(stderr=True)) as bars:
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: rich.progress.Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, rich.progress.TaskID] = {}

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
