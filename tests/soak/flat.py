"""Whether something that is looked at again and again grows: a slope with its interval."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

BLOCKS = 12
T_95 = 2.23  # Student's t for the slope of 12 points


class Growth(NamedTuple):
    """From the first look to the last, by a straight line, and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def growth(values: Sequence[float]) -> Growth:
    """Of looks at equal distances. Their means by blocks are fitted: neighbours are alike."""
    size = len(values) / BLOCKS
    cuts = [round(size * n) for n in range(BLOCKS + 1)]
    means = [fmean(values[a:b]) for a, b in pairwise(cuts)]
    middle, mean = (BLOCKS - 1) / 2, fmean(means)
    spread = sum((n - middle) ** 2 for n in range(BLOCKS))
    slope = sum((n - middle) * (y - mean) for n, y in enumerate(means)) / spread
    left = [y - mean - slope * (n - middle) for n, y in enumerate(means)]
    error = (sum(one * one for one in left) / (BLOCKS - 2) / spread) ** 0.5
    value, half = slope * BLOCKS, T_95 * error * BLOCKS
    return Growth(value, value - half, value + half)


@dataclass
class Watched:
    """What a process holds, look by look."""

    rss_mib: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)
    threads: list[float] = field(default_factory=list)

    @contextmanager
    def while_inside(self, pid: int, every_s: float) -> Iterator[None]:
        done = threading.Event()

        def live() -> None:
            while not done.wait(every_s):
                self.look(pid)

        thread = threading.Thread(target=live)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def look(self, pid: int) -> None:
        place = Path(f"/proc/{pid}")
        pages = int((place / "statm").read_text().split()[1])
        self.rss_mib.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
        self.files.append(len(os.listdir(place / "fd")))
        self.threads.append(len(os.listdir(place / "task")))
