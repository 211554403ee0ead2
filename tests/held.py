"""How much memory of Python's some work takes.

In a fork of its own, which ends without `tracemalloc.stop`: before 3.12.9 that crashes a process
whose other threads allocate meanwhile (gh-128679), and a test's process has threads of others.
"""

from __future__ import annotations

import multiprocessing
import tracemalloc
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection


def traced(work: Callable[[], object]) -> tuple[int, int]:
    """Bytes held by what `work` returns, and the most that was held while it ran."""
    context = multiprocessing.get_context("fork")
    reads, writes = context.Pipe(duplex=False)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        child = context.Process(target=_measure, args=(work, writes))  # a fork beside threads
        child.start()
    writes.close()
    child.join()
    assert not child.exitcode, "the work failed: its traceback is on stderr"
    held, peak = reads.recv()
    return held, peak


def _measure(work: Callable[[], object], writes: Connection) -> None:
    tracemalloc.start()
    result = work()
    writes.send(tracemalloc.get_traced_memory())
    del result
