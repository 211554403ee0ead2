"""The answer store: an answer that was paid for is never lost and never bought again.

An append-only segment of raw answers, content-addressed by the request key, is the truth; the
SQLite index beside it only says where a key stands and is rebuilt from the segment whenever it lags
(`index.py`). A segment is the line `mwalimu answers 2` and then frames:

    kind (1) | key (32) | run (16) | prompt tokens (u32) | completion tokens (u32)
    | nano-dollars (i64, -1 unknown) | length (u32) | CRC-32 (u32) | bytes

Kinds: S a request goes out (its counts are the worst case), A its answer (its counts are what the
teacher said), U it ended without having been done. What went out and has neither A nor U is the
only thing that a later life can buy twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

from mwalimu.data.seen import MaybeMet
from mwalimu.errors import RunError
from mwalimu.files import atomic_writer, disk_errors, exclusive, read_at, write_all
from mwalimu.synthesis.frames import ANSWER, HEAD, SENT, UNBILLED, Cost, Frame, pack, read_frames
from mwalimu.synthesis.index import FILE, Fold, Index, IndexDamaged, Spend

MAGIC = b"mwalimu answers 2\n"
SEGMENT = "segment-000001.log"
INDEX_EVERY = 4000  # frames; the index may lag, it catches up at the next opening


class Stored(NamedTuple):
    """An answer to be kept: what it cost, and its bytes as they came."""

    key: str
    cost: Cost
    raw: bytes


class AnswerStore:
    """One writer at a time, kept by a lock on the folder. Use as a context manager.

    `run` says on whose account requests go out; `end` is the segment's length in bytes.
    """

    def __init__(self, folder: Path, run: str = "") -> None:
        self.folder = folder
        self.run = bytes.fromhex(run).ljust(16, b"\0")[:16]
        self._fold = Fold()
        self._indexed = MaybeMet()
        with ExitStack() as stack:
            stack.enter_context(exclusive(folder, "answer store"))
            with disk_errors(folder):
                self._file = _open_segment(folder / SEGMENT)
                stack.callback(os.close, self._file)
                self._index = Index(folder / FILE)
                stack.callback(self._index.close)
                try:
                    self.end = self._read_index()
                except IndexDamaged:
                    self._index.renew()
                    self.end = self._read_index()
                os.fsync(self._file)  # what a killed process wrote was not yet durable
            self._closing = stack.pop_all()

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with disk_errors(self.folder):
                self.flush()
        finally:
            self._closing.close()

    def get(self, key: str) -> bytes | None:
        """The raw answer to a request; None if there is none, or if the disk spoilt it."""
        found = self.find(key)
        return None if found is None else found.raw

    def find(self, key: str) -> Stored | None:
        """The answer with what it cost when it was bought; None as of `get`."""
        raw_key = bytes.fromhex(key)
        place = self._fold.answers.get(raw_key)
        if place is None and raw_key in self._indexed:
            with disk_errors(self.folder):
                place = self._index.find(raw_key)
        if place is None:
            return None
        offset, length = place
        with disk_errors(self.folder / SEGMENT):
            data = read_at(self._file, HEAD.size + length, offset - HEAD.size)
        frame = next(read_frames(data), None)
        if frame is None or frame.kind != ANSWER or frame.key != raw_key:
            return None
        return Stored(key, frame.cost, data[HEAD.size :])

    def was_sent(self, key: str) -> bool:
        """Whether the request went out in an earlier life and nothing is known of its end."""
        return self._left_open and self._index.is_open(bytes.fromhex(key))

    def spend(self) -> Spend:
        """What this run has sent and bought in all its lives."""
        self.flush()
        return self._index.spend(self.run)

    def mark_sent(self, requests: Iterable[tuple[str, Cost]]) -> None:
        """Journals that these requests go out now, and what each may cost at worst.

        Not fsynced: a killed process keeps it, and after a power cut the answers that never
        arrived are asked again whether or not their going out is remembered.
        """
        self._append(SENT, [(key, cost, b"") for key, cost in requests])

    def mark_unbilled(self, keys: Iterable[str]) -> None:
        """Journals that these requests ended without the teacher having done the work."""
        self._append(UNBILLED, [(key, Cost(), b"") for key in keys])

    def put(self, answers: Sequence[Stored]) -> None:
        """Writes raw answers: a killed process keeps them from here on; `sync` makes them durable.

        Raises:
            DiskFull: nothing of this group is stored; all before it is.
        """
        self._append(ANSWER, answers)

    def sync(self) -> None:
        """Survives a power cut from here on. Safe beside the other methods, in another thread."""
        with disk_errors(self.folder):
            os.fsync(self._file)

    def _append(self, kind: bytes, items: Sequence[tuple[str, Cost, bytes]]) -> None:
        keyed = [(bytes.fromhex(key), cost, raw) for key, cost, raw in items]
        packed = [pack(kind, key, self.run, cost, raw) for key, cost, raw in keyed]
        try:
            write_all(self._file, b"".join(packed))
        except OSError:
            with disk_errors(self.folder):
                os.ftruncate(self._file, self.end)
                raise
        for key, cost, raw in keyed:
            offset = self.end + HEAD.size
            self.end = offset + len(raw)
            self._fold.add(kind, key, self.run, cost, offset, len(raw))
        if self._fold.frames >= INDEX_EVERY:
            self.flush()

    def _read_index(self) -> int:
        """Its end, which is then the segment's too."""
        end = self._catch_up()
        self._indexed.update(self._index.keys())
        self._left_open = self._index.any_open()
        return end

    def flush(self) -> None:
        """Brings the index up to the end of the segment."""
        if self._fold.frames:
            with disk_errors(self.folder):
                self._index.apply(self._fold, self.end)
            self._indexed.update(self._fold.answers)
            self._fold = Fold()

    def _catch_up(self) -> int:
        """Indexes the frames that the index has not seen; cuts a torn tail; returns the end."""
        size = os.fstat(self._file).st_size
        start = self._index.end()
        if not len(MAGIC) <= start <= size:
            self._index.clear()
            start = len(MAGIC)
        end = start
        fold = Fold()
        for frame in stored_frames(self._file, start, size):
            end = frame.offset + frame.length
            fold.add(*frame)
            if fold.frames >= INDEX_EVERY:
                self._index.apply(fold, end)
                fold = Fold()
        if fold.frames:
            self._index.apply(fold, end)
        if end < size:
            os.ftruncate(self._file, end)
        return end


def read_answers(folder: Path) -> Iterator[Stored]:
    """All answers of a store, in the order in which they came; its owner may be writing.

    Raises:
        RunError: it is no answer store.
    """
    with open_for_reading(folder / SEGMENT) as handle:
        descriptor = handle.fileno()
        for frame in stored_frames(descriptor, len(MAGIC), os.fstat(descriptor).st_size):
            if frame.kind == ANSWER:
                raw = read_at(descriptor, frame.length, frame.offset)
                yield Stored(frame.key.hex(), frame.cost, raw)


def has_answers(folder: Path) -> bool:
    """Whether a store was begun there; perhaps none has come yet."""
    segment = folder / SEGMENT
    return segment.exists() and segment.stat().st_size >= len(MAGIC)


@contextmanager
def open_for_reading(segment: Path) -> Iterator[IO[bytes]]:
    """The segment of a store that another process may be writing.

    Raises:
        RunError: there is none, or it is of another version.
    """
    if not has_answers(segment.parent):
        raise RunError("holds no answers", where=str(segment.parent), fix="check the path")
    with open(segment, "rb") as handle:
        if handle.read(len(MAGIC)) != MAGIC:
            raise _other_version(segment)
        yield handle


def _other_version(path: Path) -> RunError:
    return RunError("is not an answer store of this version", where=str(path), fix="move it aside")


def _open_segment(path: Path) -> int:
    if not has_answers(path.parent):
        with atomic_writer(path, mode=0o600) as handle:  # no power cut leaves half a first line
            handle.write(MAGIC)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    if read_at(descriptor, len(MAGIC), 0) != MAGIC:
        os.close(descriptor)
        raise _other_version(path)
    return descriptor


def stored_frames(descriptor: int, start: int, size: int) -> Iterator[Frame]:
    """Every whole frame between `start` and `size`, read in pieces."""
    piece, position = 1 << 22, start
    while position < size:
        data = read_at(descriptor, min(piece, size - position), position)
        last = position + len(data) >= size
        used = 0
        for frame in read_frames(data, search=last or len(data) >= 1 << 26):
            used = frame.offset + frame.length
            yield frame._replace(offset=position + frame.offset)
        if used == 0 and last:
            return
        if used == 0:
            piece *= 2  # one frame larger than the piece
            continue
        position += used
        piece = 1 << 22
