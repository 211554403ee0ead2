"""Whether something was met before, in constant memory: SQLite spills to a temporary file."""

from __future__ import annotations

import mmap
import sqlite3
from collections.abc import Iterable
from types import TracebackType

BITS = 1 << 27  # 16 MiB: 10 million keys leave 93 of 100 new ones free of a look-up
RECENT = 1 << 16  # keys that are written together, in their order: a page takes many of them
RECENT_TEXT = 1 << 23  # characters of values that are held until then


class MaybeMet:
    """Says which keys are certainly new, in constant memory; of the others it says nothing."""

    def __init__(self) -> None:
        # Untouched pages take no memory.
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._bits = mmap.mmap(-1, -(-BITS // 8), flags=flags)

    def __contains__(self, key: bytes | str) -> bool:
        """False for a new key; True for every key that was added, and for some that were not."""
        at = hash(key) % BITS
        return bool(self._bits[at >> 3] >> (at & 7) & 1)

    def update(self, keys: Iterable[bytes | str]) -> None:
        for key in keys:
            at = hash(key) % BITS
            self._bits[at >> 3] |= 1 << (at & 7)


def private_database(table: str) -> sqlite3.Connection:
    """With one `table`, in a file of its own that ends with the connection; of no use after that,
    so nothing in it is made durable.
    """
    database = sqlite3.connect("")
    database.execute("PRAGMA journal_mode=OFF")
    database.execute("PRAGMA synchronous=OFF")
    database.execute(f"CREATE TABLE {table}")
    database.execute("BEGIN")
    return database


class FirstSeen:
    """Remembers the first value of every key. Use as a context manager."""

    def __init__(self) -> None:
        self._recent: dict[bytes | str, str | int] = {}
        self._text = 0  # characters of the recent values
        self._written = MaybeMet()
        self._db = private_database("seen (key BLOB PRIMARY KEY, first) WITHOUT ROWID")

    def __enter__(self) -> FirstSeen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def first(self, key: bytes | str, value: str | int) -> str | int | None:
        """None for a new key, which is kept with `value`; else the value that it came with."""
        if (first := self._recent.get(key)) is not None:
            return first
        if key in self._written:
            row = self._db.execute("SELECT first FROM seen WHERE key = ?", (key,)).fetchone()
            if row is not None:
                found: str | int = row[0]
                return found
        self._recent[key] = value
        self._text += len(value) if isinstance(value, str) else 0
        if len(self._recent) == RECENT or self._text > RECENT_TEXT:
            self._write()
        return None

    def _write(self) -> None:
        # As SQLite orders them: texts, then bytes. Neighbours then go to the same page.
        ordered = sorted(self._recent.items(), key=_in_the_table)
        self._db.executemany("INSERT INTO seen VALUES (?, ?)", ordered)
        self._written.update(self._recent)
        self._recent.clear()
        self._text = 0


def _in_the_table(item: tuple[bytes | str, str | int]) -> tuple[bool, bytes]:
    key = item[0]
    return isinstance(key, bytes), key if isinstance(key, bytes) else key.encode()
