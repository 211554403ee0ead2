"""When Python looks for garbage: not in what it has just imported, and not once more at the end.

torch and transformers are half a million objects that live as long as the process. Importing them
takes a tenth less while nothing looks through them, and a process that has them ends in half the
time (`benchmarks/start_up.py`).
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Around imports that are heavy; nothing else is to be made in there."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def left_at_the_end() -> None:
    """For a process of our own: what is there when it ends goes with it, unlooked at."""
    atexit.register(gc.freeze)
