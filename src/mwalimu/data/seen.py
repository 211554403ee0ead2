"""Whether something was met before, in constant memory: SQLite spills to a temporary file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from types import TracebackType

SLOTS = 1 << 21  # 2 MiB: 50,000 keys leave 98 of 100 new ones free of a look-up
RECENT = 4096  # keys that are written together


class MaybeMet:
    """Says which keys are certainly new, in constant memory; of the others it says nothing."""

    def __init__(self) -> None:
        self._slots = bytearray(SLOTS)

    def __contains__(self, key: bytes | str) -> bool:
        """False for a new key; True for every key that was added, and for some that were not."""
        return self._slots[hash(key) % SLOTS] != 0

    def update(self, keys: Iterable[bytes | str]) -> None:
        for key in keys:
            self._slots[hash(key) % SLOTS] = 1


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
        if len(self._recent) == RECENT:
            self._write()
        return None

    def _write(self) -> None:
        self._db.executemany("INSERT INTO seen VALUES (?, ?)", self._recent.items())
        self._written.update(self._recent)
        self._recent.clear()
