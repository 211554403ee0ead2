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
from typing import Any, NamedTuple

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


class IndexDamaged(OSError):
    """No database any more; `renew` makes it one."""

    def __init__(self, said: str) -> None:
        super().__init__(errno.EIO, said)


class Index:
    """Every method raises OSError as the disk would; IndexDamaged too, but for `renew`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection
        try:
            self._open()
        except IndexDamaged:
            self.renew()

    def _open(self) -> None:
        # Refused for its own reason, which SQLite does not tell.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        with _sqlite_errors():
            self._db = _connect(self._path)

    def renew(self) -> None:
        """Begins anew, with nothing in it."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(f"{self._path}{suffix}")
        self._open()

    def close(self) -> None:
        with suppress(AttributeError):  # it was never opened
            self._db.close()

    def end(self) -> int:
        """How far the segment is indexed; 0 if not at all. Reads all that `keys` does not."""
        with _sqlite_errors():
            for table in ("open", "spend"):
                self._db.execute(f"SELECT * FROM {table}").fetchall()
            row = self._db.execute("SELECT end FROM state").fetchone()
        return int(row[0]) if row else 0

    def clear(self) -> None:
        with _sqlite_errors(), self._db:
            for table in TABLES:
                self._db.execute(f"DELETE FROM {table}")

    def keys(self) -> Iterator[bytes]:
        """Of all answers."""
        with _sqlite_errors():
            yield from (key for (key,) in self._db.execute("SELECT key FROM answers"))

    def find(self, key: bytes) -> tuple[int, int] | None:
        found: tuple[int, int] | None = self._one(
            "SELECT offset, length FROM answers WHERE key = ?", key
        )
        return found

    def any_open(self) -> bool:
        return self._one("SELECT 1 FROM open LIMIT 1") is not None

    def is_open(self, key: bytes) -> bool:
        return self._one("SELECT 1 FROM open WHERE key = ?", key) is not None

    def _one(self, query: str, *given: bytes) -> Any:
        with _sqlite_errors():
            return self._db.execute(query, given).fetchone()

    def spend(self, run: bytes) -> Spend:
        closed = self._one("SELECT * FROM spend WHERE run = ?", run)
        left = self._one(
            "SELECT sum(times), sum(times * (prompt + completion)), sum(times * nano) "
            "FROM open WHERE run = ?",
            run,
        )
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


_ERRNO = {
    "SQLITE_FULL": errno.ENOSPC,
    "SQLITE_IOERR_READ": errno.EIO,
    "SQLITE_IOERR_SHORT_READ": errno.EIO,
    "SQLITE_IOERR": errno.ENOSPC,  # a file-size limit, or no room for the map beside it
    "SQLITE_CANTOPEN": errno.EMFILE,  # the file itself could be opened, not those beside it
    "SQLITE_READONLY": errno.EACCES,
}
"""By the beginning of SQLite's name, the first that fits: it does not tell what the system said."""


@contextmanager
def _sqlite_errors() -> Iterator[None]:
    """SQLite has its own words for a full disk, one that cannot be read, and a damaged file."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = error.sqlite_errorname
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise IndexDamaged(str(error)) from error
        for known, number in _ERRNO.items():
            if name.startswith(known):
                raise OSError(number, str(error)) from error
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
        except (sqlite3.Error, OSError):
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
        except (sqlite3.DatabaseError, OSError):
            return None
