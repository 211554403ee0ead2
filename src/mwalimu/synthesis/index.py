"""Where each answer stands in the segment, what is still open, and what each run has spent.

Only a copy: it may be lost, lag or be damaged, and is made again from the segment.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from mwalimu.synthesis.frames import ANSWER, SENT, Cost

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, offset INTEGER, length INTEGER)
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS open (key BLOB PRIMARY KEY, run BLOB, times INTEGER,
  prompt INTEGER, completion INTEGER, nano INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spend (run BLOB PRIMARY KEY, requests INTEGER, answers INTEGER,
  prompt INTEGER, completion INTEGER, nano INTEGER, unpriced INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (end INTEGER);
"""
TABLES = ("answers", "open", "spend", "state")
FILE = "index.sqlite3"


class Spend(NamedTuple):
    """Of one run. `open_*`: requests whose end is unknown, at their worst case."""

    requests: int = 0
    answers: int = 0
    prompt: int = 0
    completion: int = 0
    nano_usd: int = 0
    unpriced: int = 0
    open_requests: int = 0
    open_tokens: int = 0
    open_nano_usd: int = 0


class Index:
    def __init__(self, path: Path) -> None:
        with _sqlite_errors():
            try:
                self._db = _connect(path)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                for suffix in ("", "-wal", "-shm"):
                    with suppress(FileNotFoundError):
                        os.unlink(f"{path}{suffix}")
                self._db = _connect(path)

    def close(self) -> None:
        self._db.close()

    def end(self) -> int:
        """How far the segment is indexed; 0 if not at all."""
        row = self._db.execute("SELECT end FROM state").fetchone()
        return int(row[0]) if row else 0

    def clear(self) -> None:
        with _sqlite_errors(), self._db:
            for table in TABLES:
                self._db.execute(f"DELETE FROM {table}")

    def keys(self) -> Iterator[bytes]:
        """Of all answers."""
        return (key for (key,) in self._db.execute("SELECT key FROM answers"))

    def find(self, key: bytes) -> tuple[int, int] | None:
        row = self._db.execute("SELECT offset, length FROM answers WHERE key = ?", (key,))
        found: tuple[int, int] | None = row.fetchone()
        return found

    def any_open(self) -> bool:
        return self._db.execute("SELECT 1 FROM open LIMIT 1").fetchone() is not None

    def is_open(self, key: bytes) -> bool:
        return self._db.execute("SELECT 1 FROM open WHERE key = ?", (key,)).fetchone() is not None

    def spend(self, run: bytes) -> Spend:
        closed = self._db.execute("SELECT * FROM spend WHERE run = ?", (run,)).fetchone()
        left = self._db.execute(
            "SELECT sum(times), sum(times * (prompt + completion)), sum(times * nano) "
            "FROM open WHERE run = ?",
            (run,),
        ).fetchone()
        return Spend(*(closed[1:] if closed else (0,) * 6), *(value or 0 for value in left))

    def apply(self, fold: Fold, end: int) -> None:
        """Takes in what the segment has up to `end`, in one transaction."""
        with _sqlite_errors(), self._db:
            fold.write(self._db)
            self._db.execute("DELETE FROM state")
            self._db.execute("INSERT INTO state VALUES (?)", (end,))


class Fold:
    """Frames of one group added up, so that a request sent and answered costs one row."""

    def __init__(self) -> None:
        self.answers: dict[bytes, tuple[int, int]] = {}
        self.opened: dict[bytes, tuple[int, Cost, bytes]] = {}  # times, worst case, run
        self.runs: dict[bytes, list[int]] = {}
        self.frames = 0

    def add(
        self, kind: bytes, key: bytes, run: bytes, cost: Cost, offset: int, length: int
    ) -> None:
        """A frame; `offset` and `length` are those of the bytes behind its head."""
        self.frames += 1
        if (total := self.runs.get(run)) is None:
            total = self.runs[run] = [0] * 6
        if kind == SENT:
            total[0] += 1
            before = self.opened.get(key)
            self.opened[key] = (1 if before is None else before[0] + 1, cost, run)
            return
        if kind == ANSWER:
            self.answers[key] = (offset, length)
            total[1] += 1
            total[2] += cost.prompt
            total[3] += cost.completion
            total[4] += cost.nano_usd or 0
            total[5] += cost.nano_usd is None
        self._close(key, run)

    def _close(self, key: bytes, run: bytes) -> None:
        """One going out less; what is balanced within the fold leaves no trace."""
        times, worst, opener = self.opened.pop(key, (0, Cost(), run))
        if times != 1:
            self.opened[key] = (times - 1, worst, opener)

    def write(self, db: sqlite3.Connection) -> None:
        db.executemany(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
            [(key, *place) for key, place in self.answers.items()],
        )
        changed = [
            (key, run, times, worst.prompt, worst.completion, worst.nano_usd or 0)
            for key, (times, worst, run) in self.opened.items()
            if times
        ]
        db.executemany(
            "INSERT INTO open VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET times = times + excluded.times",
            changed,
        )
        if changed:
            db.execute("DELETE FROM open WHERE times <= 0")
        db.executemany(
            "INSERT INTO spend VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run) DO UPDATE SET "
            "requests = requests + excluded.requests, answers = answers + excluded.answers, "
            "prompt = prompt + excluded.prompt, completion = completion + excluded.completion, "
            "nano = nano + excluded.nano, unpriced = unpriced + excluded.unpriced",
            [(run, *total) for run, total in self.runs.items()],
        )


def _connect(path: Path) -> sqlite3.Connection:
    # The store is used by one thread at a time, but not always by the one that opened it.
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")
    columns = [row[1] for row in connection.execute("PRAGMA table_info(spend)")]
    if not columns:
        for table in TABLES:  # of an older version
            connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.executescript(SCHEMA)
    return connection


@contextmanager
def _sqlite_errors() -> Iterator[None]:
    """SQLite has its own words for a full disk."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            raise OSError(errno.ENOSPC, str(error)) from error
        raise


class StoredKeys(Index):
    """The index as it stands, for a look from outside: no lock, nothing changed, no file made.

    It may lag behind the segment, so what it knows is the least that is there. One that is
    missing or cannot be read knows of nothing. Use as a context manager.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / FILE
        # A log beside it belongs to a run under way or to a killed one. SQLite would make those
        # files where they are missing, unless it is told that nobody writes.
        live = all(Path(f"{path}{suffix}").exists() for suffix in ("-wal", "-shm"))
        address = f"{path.absolute().as_uri()}?mode=ro{'' if live else '&immutable=1'}"
        try:
            self._db = sqlite3.connect(address, uri=True)
            self.find(b"")
            self.spend(b"")
        except sqlite3.Error:
            self._db = sqlite3.connect(":memory:")
            self._db.executescript(SCHEMA)

    def __enter__(self) -> StoredKeys:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __bool__(self) -> bool:
        """Whether it knows of any answer at all."""
        try:
            return self._db.execute("SELECT 1 FROM answers LIMIT 1").fetchone() is not None
        except sqlite3.DatabaseError:
            return False

    def holds(self, key: str) -> bool:
        """Whether the answer to the request of this key (hex) is known to be in the store."""
        return self.place(bytes.fromhex(key)) is not None

    def place(self, key: bytes) -> tuple[int, int] | None:
        """Offset and length of an answer in the segment; None where it is not known."""
        try:
            return self.find(key)
        except sqlite3.DatabaseError:
            return None
