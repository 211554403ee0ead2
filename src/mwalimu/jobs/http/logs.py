"""A log as it is and as it grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

PIECE = 1 << 16  # bytes read at once
POLL = 0.3  # seconds


async def follow(
    path: Path, after: int, *, more: Callable[[], bool], whole: bool
) -> AsyncIterator[bytes]:
    """From byte `after`; unless `whole`, until `more` says no and all was given.

    `more` is called in a thread.
    """
    while True:
        # Asked before the file is read: what was written before the end is not missed.
        ended = whole or not await asyncio.to_thread(more)
        while piece := await asyncio.to_thread(_read, path, after):
            after += len(piece)
            yield piece
        if ended:
            return
        await asyncio.sleep(POLL)


def _read(path: Path, after: int) -> bytes:
    try:
        with open(path, "rb") as handle:
            handle.seek(after)
            return handle.read(PIECE)
    except FileNotFoundError:  # not begun
        return b""
