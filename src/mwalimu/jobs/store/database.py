"""One SQLite file in WAL mode, shared by the server and its workers."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mwalimu.errors import DiskFull, MachineError, MwalimuError, RunError
from mwalimu.jobs.store.migrations import migrate

BUSY = 30.0  # seconds that a transaction waits for another one


class Database:
    """Every change is one immediate transaction, durable when it returns.

    Connections are kept for the next transaction, whichever thread makes it: there are as many as
    were ever needed at once, not as many as there are threads.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._free: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # what SQLite puts beside it has the same mode
        with self._connection() as connection:
            _use_wal(connection)
            migrate(connection, where=str(path))

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Raises MachineError; RunError where the file is damaged, or busy for BUSY seconds."""
        with self._connection() as connection, _transaction(connection, "BEGIN IMMEDIATE"):
            yield connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Everything that is read inside is of one moment. Raises as `change` does."""
        with self._connection() as connection, _transaction(connection, "BEGIN"):
            yield connection

    def close(self) -> None:
        with self._lock:
            while self._free:
                self._free.pop().close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._free.pop() if self._free else None
        try:
            if connection is None:
                connection = _connect(self.path)
            yield connection
        except sqlite3.DatabaseError as error:
            if explained := _explained(error, self.path):
                raise explained from error
            raise
        finally:
            if connection is not None:
                self._keep(connection)

    def _keep(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:  # even its rollback failed; closing it is one, too
            connection.close()
            return
        with self._lock:
            self._free.append(connection)


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    try:
        connection.execute(begin)
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """The file remembers it. While another does the same, SQLite says "locked" without waiting."""
    deadline = time.monotonic() + BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


_REFUSALS: dict[int, tuple[type[MwalimuError], str]] = {
    sqlite3.SQLITE_BUSY: (RunError, "try again"),
    sqlite3.SQLITE_CANTOPEN: (MachineError, "see who may write there, and how many files are open"),
    sqlite3.SQLITE_CORRUPT: (RunError, "put back a copy of the workspace"),
    sqlite3.SQLITE_FULL: (DiskFull, "what is in it is whole; free some space"),
    sqlite3.SQLITE_IOERR: (MachineError, "see whether the disk is sound and has room"),
    sqlite3.SQLITE_NOTADB: (RunError, "name another workspace"),
    sqlite3.SQLITE_READONLY: (MachineError, "see who may write there"),
}


def _explained(error: sqlite3.DatabaseError, path: Path) -> MwalimuError | None:
    """What the machine did to us in one line; None for a mistake of ours."""
    code = getattr(error, "sqlite_errorcode", -1) & 0xFF
    if code not in _REFUSALS:
        return None
    kind, fix = _REFUSALS[code]
    return kind(str(error), where=str(path), fix=fix)
