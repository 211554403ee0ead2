"""Who works on a job on this machine: a lock that ends with its holder, however that ends.

The file holds the process id of whoever locked it, and that is never another's: each holder locks
a file of its own, with its id in it, before that becomes the file that others see.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mwalimu.errors import RunError

AGAIN_S = 0.05


@contextmanager
def held(path: Path, *, patience_s: float) -> Iterator[None]:
    """Holds `path` while inside; a dying holder is waited for so many seconds.

    Raises RunError: another process has it still.
    """
    until = time.monotonic() + patience_s
    while (mine := _taken(path)) is None:
        if time.monotonic() > until:
            raise RunError(
                "another worker has not let go of it", where=path.parent.name, fix="wait for it"
            )
        time.sleep(AGAIN_S)
    try:
        yield
    finally:
        os.close(mine)


def holder(path: Path) -> int | None:
    """The process id of the worker that holds `path` now; None if nobody does."""
    with suppress(FileNotFoundError, ValueError):
        seen = os.open(path, os.O_RDONLY)
        try:
            return None if _locked(seen) else int(os.pread(seen, 20, 0))
        finally:
            os.close(seen)
    return None


def _taken(path: Path) -> int | None:
    """A descriptor that holds it; None if another does."""
    before = os.open(path, os.O_RDONLY | os.O_CREAT, 0o600)
    try:
        if not _locked(before) or not _is_at(before, path):
            return None
        own = path.with_name(f"{path.name}.{os.getpid()}")
        mine = os.open(own, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(mine, str(os.getpid()).encode())
        fcntl.flock(mine, fcntl.LOCK_EX)
        os.replace(own, path)
        return mine
    finally:
        os.close(before)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Another may have put its own there since it was opened."""
    mine = os.fstat(descriptor)
    with suppress(FileNotFoundError):
        there = path.stat()
        return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
    return False
