"""Whether something was met before, in constant memory: SQLite spills to a temporary file."""

from __future__ import annotations

import sqlite3
from types import TracebackType


class FirstSeen:
    """Remembers the first value of every key. Use as a context manager."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")  # a private file that ends with the connection
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute("CREATE TABLE seen (key BLOB PRIMARY KEY, first) WITHOUT ROWID")
        self._db.execute("BEGIN")

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
        added = self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, value))
        if added.rowcount:
            return None
        row = self._db.execute("SELECT first FROM seen WHERE key = ?", (key,)).fetchone()
        found: str | int = row[0]
        return found
