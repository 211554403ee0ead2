"""How long a job has worked, over all its lives."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from mwalimu.files import write_json
from mwalimu.progress import Progress

KEPT_EVERY_S = 2.0


class Clock:
    """Seconds of work, kept in a file: a life that is killed loses those since it was last kept.

    It is kept where progress is told, so a life that tells nothing for a minute may lose a minute.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._now = now
        self._before = float(json.loads(path.read_bytes())["seconds"]) if path.is_file() else 0.0
        self._since = self._kept = now()

    @property
    def seconds(self) -> float:
        return self._before + self._now() - self._since

    def keep(self) -> None:
        self._kept = self._now()
        write_json(self.path, {"seconds": round(self.seconds, 3)})

    def told(self, progress: Progress) -> Progress:
        """The same progress, on which the clock is kept."""

        def tell(stage: str, done: int, total: int, note: str) -> None:
            if self._now() - self._kept >= KEPT_EVERY_S:
                self.keep()
            progress(stage, done, total, note)

        return tell
