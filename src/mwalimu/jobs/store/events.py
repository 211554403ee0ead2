"""What happened to jobs, numbered over the whole store, inside a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from mwalimu.data.record import Json
from mwalimu.jobs.records import Event

_COLUMNS = "number, job, time, kind, data"


def tell(
    db: sqlite3.Connection, job: str, kind: str, data: Mapping[str, Any], *, now: float
) -> None:
    db.execute(
        "INSERT INTO events (job, time, kind, data) VALUES (?, ?, ?, ?)",
        (job, now, kind, json.dumps(data)),
    )


def report(db: sqlite3.Connection, job: str, kind: str, data: Json, *, now: float) -> None:
    """An event that stands for all of its kind, and stage, before: only the newest is kept.

    The first of a stage says that the job has come further than ever: workers that vanished
    before count no longer.
    """
    before = db.execute(
        "DELETE FROM events WHERE job = ? AND kind = ? AND json_extract(data, '$.stage') IS ?",
        (job, kind, data.get("stage")),
    ).rowcount
    if kind == "progress" and not before:
        db.execute("UPDATE jobs SET vanished = 0 WHERE name = ?", (job,))
    if kind == "spent":
        db.execute("UPDATE jobs SET spent_usd = ? WHERE name = ?", (data["usd"], job))
    tell(db, job, kind, data, now=now)


def after(db: sqlite3.Connection, number: int, job: str | None, limit: int) -> list[Event]:
    """In order; those of one job with `job`."""
    where, asked = ("", (number, limit)) if job is None else ("AND job = ?", (number, job, limit))
    query = f"SELECT {_COLUMNS} FROM events WHERE number > ? {where} ORDER BY number LIMIT ?"
    return [_event(row) for row in db.execute(query, asked)]


def of_kind(db: sqlite3.Connection, job: str, kind: str) -> list[Event]:
    """In order."""
    query = f"SELECT {_COLUMNS} FROM events WHERE job = ? AND kind = ? ORDER BY number"
    return [_event(row) for row in db.execute(query, (job, kind))]


def newest(db: sqlite3.Connection) -> int:
    """Its number, 0 before the first."""
    return int(db.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0])


def _event(row: sqlite3.Row) -> Event:
    return Event(**{**row, "data": json.loads(row["data"])})
