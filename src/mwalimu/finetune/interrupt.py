"""Ctrl-C, SIGTERM: the training step under way is finished first, so that it can be saved whole."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PASSED_ON = 5.0
"""Seconds: torchrun sends its processes a Ctrl-C that the terminal has sent them already."""


class Interruption:
    """`asked` turns true at the first signal; one that comes `grace` seconds later raises."""

    def __init__(self, grace: float = 0.0) -> None:
        self.grace = grace
        self.asked = False
        self._first = 0.0

    def handle(self, _signal: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.asked:
            self.asked, self._first = True, now
        elif now - self._first >= self.grace:
            raise KeyboardInterrupt


@contextmanager
def interruption(grace: float = 0.0) -> Iterator[Interruption]:
    """Catches SIGNALS while inside; off the main thread, where Python forbids it, nothing changes.

    A process that ignores one (SIGINT if started by nohup or in the background) goes on so.
    """
    asked = Interruption(grace)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    caught = [number for number in SIGNALS if before[number] is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        caught = []
    for number in caught:
        signal.signal(number, asked.handle)
    try:
        yield asked
    finally:
        for number in caught:
            signal.signal(number, before[number])
