"""The answer store: an answer that was paid for is never lost and never bought again.

Append-only segments of raw answers, content-addressed by the request key, are the truth; the SQLite
index beside them only says where a key stands and is rebuilt from the segments whenever it lags.

A segment is the line `mwalimu answers 1` and then frames:
    kind (1 byte: A answer, S sent) | key (32 bytes) | length (u32 LE) | CRC-32 (u32 LE) | bytes
A frame that was cut by a crash is cut off at the next opening for writing; whole frames never are.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType

from mwalimu.errors import RunError
from mwalimu.run import disk_errors, exclusive, fsync_folder

MAGIC = b"mwalimu answers 1\n"
HEAD = struct.Struct("<c32sII")
ANSWER, SENT = b"A", b"S"
SEGMENT = "segment-000001.log"
SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, offset INTEGER, length INTEGER);
CREATE TABLE IF NOT EXISTS sent (key BLOB PRIMARY KEY);
CREATE TABLE IF NOT EXISTS state (end INTEGER);
"""


class AnswerStore:
    """One writer at a time, kept by a lock on the folder. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with ExitStack() as stack:
            stack.enter_context(exclusive(folder, "answer store"))
            with disk_errors(folder), _index_errors():
                self._file = _open_segment(folder / SEGMENT)
                self._index = _open_index(folder / "index.sqlite3")
                self._end = self._catch_up()
            self._lock = stack.pop_all()

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._index.close()
        os.close(self._file)
        self._lock.close()

    def get(self, key: str) -> bytes | None:
        """The raw answer to a request, or None."""
        row = self._index.execute(
            "SELECT offset, length FROM answers WHERE key = ?", (bytes.fromhex(key),)
        ).fetchone()
        return None if row is None else os.pread(self._file, row[1], row[0])

    def was_sent(self, key: str) -> bool:
        """Whether the request went out in an earlier life without an answer reaching the disk."""
        raw = bytes.fromhex(key)
        sent = self._index.execute("SELECT 1 FROM sent WHERE key = ?", (raw,)).fetchone()
        return sent is not None and self.get(key) is None

    def mark_sent(self, keys: Iterable[str]) -> None:
        """Journals that these requests go out now.

        Not fsynced: a killed process keeps it, and after a power cut the answers that never
        arrived are asked again whether or not their going out is remembered.
        """
        self._append([(SENT, key, b"") for key in keys], sync=False)

    def put(self, answers: Sequence[tuple[str, bytes]]) -> None:
        """Makes raw answers durable: one write and one fsync for all of them.

        Raises:
            DiskFull: nothing of this group is stored; all before it is.
        """
        self._append([(ANSWER, key, raw) for key, raw in answers], sync=True)

    def _append(self, frames: list[tuple[bytes, str, bytes]], *, sync: bool) -> None:
        packed = b"".join(_frame(kind, bytes.fromhex(key), raw) for kind, key, raw in frames)
        with disk_errors(self.folder):
            try:
                _write_all(self._file, packed)
                if sync:
                    os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, self._end)
                raise
            # Stored whether or not the index can follow: it catches up at the next opening.
            self._end += len(packed)
            with _index_errors():
                self._catch_up()

    def _catch_up(self) -> int:
        """Indexes the frames that the index has not seen; cuts a torn tail; returns the end."""
        size = os.fstat(self._file).st_size
        row = self._index.execute("SELECT end FROM state").fetchone()
        start = row[0] if row and len(MAGIC) <= row[0] <= size else len(MAGIC)
        if row and row[0] != start:
            self._index.executescript("DELETE FROM answers; DELETE FROM sent;")
        end = start
        with self._index:
            for kind, key, offset, length in _frames(self._file, start, size):
                if kind == ANSWER:
                    values = (key, offset, length)
                    self._index.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", values)
                else:
                    self._index.execute("INSERT OR IGNORE INTO sent VALUES (?)", (key,))
                end = offset + length
            self._index.execute("DELETE FROM state")
            self._index.execute("INSERT INTO state VALUES (?)", (end,))
        if end < size:
            os.ftruncate(self._file, end)
        return end


@contextmanager
def _index_errors() -> Iterator[None]:
    """SQLite has its own words for a full disk."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            raise OSError(errno.ENOSPC, str(error)) from error
        raise


def _open_segment(path: Path) -> int:
    new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    if new or os.fstat(descriptor).st_size < len(MAGIC):
        os.ftruncate(descriptor, 0)
        with disk_errors(path):
            _write_all(descriptor, MAGIC)
            os.fsync(descriptor)
            fsync_folder(path.parent)
    if os.pread(descriptor, len(MAGIC), 0) != MAGIC:
        os.close(descriptor)
        raise RunError(
            "is not an answer store of this version", where=str(path), fix="move it aside"
        )
    return descriptor


def _open_index(path: Path) -> sqlite3.Connection:
    """The index may be lost or damaged: it is only a copy."""
    try:
        return _connect(path)
    except sqlite3.DatabaseError:
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(f"{path}{suffix}")
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    # The engine stores from one thread at a time, but not always from the one that opened.
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")
    connection.executescript(SCHEMA)
    return connection


def _frame(kind: bytes, key: bytes, raw: bytes) -> bytes:
    return HEAD.pack(kind, key, len(raw), zlib.crc32(kind + key + raw)) + raw


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _frames(descriptor: int, start: int, size: int) -> Iterator[tuple[bytes, bytes, int, int]]:
    """(kind, key, offset of the bytes, length) of every whole frame up to the first torn one."""
    position = start
    while position + HEAD.size <= size:
        kind, key, length, crc = HEAD.unpack(os.pread(descriptor, HEAD.size, position))
        offset = position + HEAD.size
        if kind not in (ANSWER, SENT) or offset + length > size:
            return
        if zlib.crc32(kind + key + os.pread(descriptor, length, offset)) != crc:
            return
        yield kind, key, offset, length
        position = offset + length
