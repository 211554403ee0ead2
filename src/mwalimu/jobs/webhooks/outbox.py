"""What is to be told, and what was: a table beside the jobs, filled from their events.

The events are a log that only grows; how far it was read is kept in the same transaction as what
was found there. So a job's end is told at least once, whenever the server is killed.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from mwalimu.data.record import Json
from mwalimu.jobs.states import OVER, State
from mwalimu.jobs.store.database import Database
from mwalimu.jobs.store.job_store import DAY_S

RETRIES_S = (5.0, 30.0, 120.0, 600.0, 3600.0, 3 * 3600.0, 8 * 3600.0)
"""Seconds until each further attempt; after the last one it is given up."""
PAGE = 500  # events of one transaction
_REMEMBERED = 300  # characters of why an attempt has failed


@dataclass(frozen=True, slots=True)
class Delivery:
    """`number` is that of the event, and what a receiver knows a repetition by."""

    number: int
    owner: str
    url: str
    body: str
    attempts: int


class Outbox:
    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self.clock = clock

    def fill(self) -> int:
        """Takes in the ends of jobs that have a webhook; returns how many."""
        found = 0
        while True:
            with self.database.change() as db:
                (after,) = db.execute("SELECT number FROM webhook_cursor").fetchone()
                rows = db.execute(
                    "SELECT number, job, kind, data FROM events WHERE number > ? ORDER BY number"
                    " LIMIT ?",
                    (after, PAGE),
                ).fetchall()
                found += sum(self._take(db, row) for row in rows)
                if rows:
                    db.execute("UPDATE webhook_cursor SET number = ?", (rows[-1]["number"],))
            if len(rows) < PAGE:
                return found

    def due(self, limit: int) -> list[Delivery]:
        """Those whose time has come, the oldest first."""
        with self.database.read() as db:
            rows = db.execute(
                "SELECT number, owner, url, body, attempts FROM webhooks"
                " WHERE due <= ? ORDER BY due, number LIMIT ?",
                (self.clock(), limit),
            )
            return [Delivery(**row) for row in rows]

    def delivered(self, delivery: Delivery) -> None:
        self._end(delivery, "delivered", "")

    def failed(self, delivery: Delivery, why: str, *, for_good: bool = False) -> None:
        """Tried again later, unless it was the last attempt."""
        if for_good or delivery.attempts >= len(RETRIES_S):
            self._end(delivery, "given up", why)
            return
        with self.database.change() as db:
            db.execute(
                "UPDATE webhooks SET attempts = attempts + 1, due = ?, error = ? WHERE number = ?",
                (
                    self.clock() + RETRIES_S[delivery.attempts],
                    why[:_REMEMBERED],
                    delivery.number,
                ),
            )

    def expire(self, retention_days: float | None) -> int:
        """Forgets what has been delivered or given up, with the event that it told of, or
        `retention_days` after it; returns how many. What still waits stays, be its job gone."""
        days = inf if retention_days is None else retention_days
        with self.database.change() as db:
            return db.execute(
                "DELETE FROM webhooks WHERE due IS NULL AND NOT EXISTS"
                " (SELECT 1 FROM events WHERE number = webhooks.number AND time >= ?)",
                (self.clock() - days * DAY_S,),
            ).rowcount

    def outcome(self, number: int) -> tuple[str, int, str]:
        """(waiting, delivered or given up; attempts; why the last one failed)."""
        with self.database.read() as db:
            row = db.execute(
                "SELECT state, attempts, error FROM webhooks WHERE number = ?", (number,)
            ).fetchone()
            return row["state"], row["attempts"], row["error"]

    def _end(self, delivery: Delivery, state: str, why: str) -> None:
        with self.database.change() as db:
            db.execute(
                "UPDATE webhooks SET state = ?, due = NULL, attempts = attempts + 1, error = ?,"
                " body = '' WHERE number = ?",
                (state, why[:_REMEMBERED], delivery.number),
            )

    def _take(self, db: sqlite3.Connection, row: sqlite3.Row) -> int:
        if row["kind"] != "state" or json.loads(row["data"])["state"] not in OVER:
            return 0
        job = db.execute("SELECT * FROM jobs WHERE name = ?", (row["job"],)).fetchone()
        url = json.loads(job["spec"]).get("webhook")
        if not url:
            return 0
        body = json.dumps(_message(row, job), ensure_ascii=False)
        db.execute(
            "INSERT INTO webhooks (number, job, owner, url, body, due) VALUES (?, ?, ?, ?, ?, ?)",
            (row["number"], job["name"], job["owner"], url, body, self.clock()),
        )
        return 1


def _message(event: sqlite3.Row, job: sqlite3.Row) -> Json:
    """Small, and without anything that a model or a stranger wrote but the job's own name."""
    state = json.loads(event["data"])["state"]
    error = json.loads(job["error"]) if state == State.FAILED and job["error"] else None
    return {
        "type": "job.ended",
        "number": event["number"],
        "job": job["name"],
        "kind": job["kind"],
        "state": state,
        "created": job["created"],
        "started": job["started"],
        "ended": job["ended"],
        "exit_code": None if error is None else error["exit_code"],
        "spent_usd": job["spent_usd"],
    }
