"""Ctrl-C during training: the step under way is finished first, so that it can be saved whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """`asked` turns true at the first Ctrl-C; the second one raises at once."""

    def __init__(self) -> None:
        self.asked = False

    def handle(self, _signal: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Catches SIGINT while inside; off the main thread, where Python forbids it, nothing changes.

    A process that ignores SIGINT (started by nohup or in the background) goes on ignoring it.
    """
    asked = Interruption()
    before = signal.getsignal(signal.SIGINT)
    on_main_thread = threading.current_thread() is threading.main_thread()
    if not on_main_thread or before is signal.SIG_IGN:
        yield asked
        return
    signal.signal(signal.SIGINT, asked.handle)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
