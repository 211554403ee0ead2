"""Who did what: a list that only grows. The database itself refuses to change or drop a line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mwalimu.jobs.store.database import Database


@dataclass(frozen=True, slots=True)
class Entry:
    """`who` is a token's name, "" for none; `what` the method and route; `on` the thing's name;
    `status` that of the answer; `address` the peer's."""

    number: int
    time: float
    who: str
    what: str
    on: str
    status: int
    address: str


class AuditLog:
    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self.clock = clock

    def add(self, *, who: str, what: str, on: str, status: int, address: str) -> None:
        with self.database.change() as db:
            db.execute(
                'INSERT INTO audit (time, who, what, "on", status, address)'
                " VALUES (?, ?, ?, ?, ?, ?)",
                (self.clock(), who, what, on, status, address),
            )

    def entries(self, *, after: int = 0, limit: int = 100) -> list[Entry]:
        """In order, those with a number above `after`."""
        with self.database.read() as db:
            rows = db.execute(
                "SELECT * FROM audit WHERE number > ? ORDER BY number LIMIT ?", (after, limit)
            ).fetchall()
        return [Entry(**row) for row in rows]
