"""Whether an answer store is whole, seen from outside; and its index made again."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mwalimu.files import exclusive
from mwalimu.synthesis.frames import ANSWER, HEAD
from mwalimu.synthesis.index import FILE, StoredKeys
from mwalimu.synthesis.store import MAGIC, SEGMENT, AnswerStore, open_for_reading, stored_frames


@dataclass(slots=True)
class StoreState:
    """`answers`: requests with a whole answer. `damaged`: bytes between whole frames that are
    none, answers that will be asked for again. `torn`: bytes behind the last whole frame, a write
    cut short or under way. `unindexed`: answers that the index passed over; what it has not come
    to yet is not counted."""

    size: int
    answers: int = 0
    damaged: int = 0
    torn: int = 0
    unindexed: int = 0


def check_store(folder: Path) -> StoreState:
    """Reads every frame; its owner may be writing.

    Raises:
        RunError: it is no answer store of this version.
    """
    with open_for_reading(folder / SEGMENT) as handle, StoredKeys(folder) as index:
        size = os.fstat(handle.fileno()).st_size
        state, end, indexed = StoreState(size), len(MAGIC), index.end()
        for frame in stored_frames(handle.fileno(), end, size):
            state.damaged += frame.offset - HEAD.size - end
            end = frame.offset + frame.length
            if frame.kind == ANSWER:
                known = index.place(frame.key)
                # An answer that was bought twice counts once, where it stands last.
                state.answers += known is None or known[0] <= frame.offset
                missed = known is None or known[0] < frame.offset
                state.unindexed += missed and frame.offset < indexed
        state.torn = size - end
    return state


def rebuild_index(folder: Path) -> int:
    """Makes the index again from the segment, whose torn end is cut; returns its answers.

    Raises:
        RunError: another process works in the store.
    """
    with exclusive(folder, "answer store"):
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(folder / f"{FILE}{suffix}")
    with AnswerStore(folder):
        pass
    return check_store(folder).answers
