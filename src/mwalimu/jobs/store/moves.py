"""The rows of jobs inside a transaction. `move` is the only door to another state."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from mwalimu.jobs.records import Job, Spec
from mwalimu.jobs.refusals import JobNotFound, WrongState
from mwalimu.jobs.states import ENDED, FOLLOWS, HELD, State
from mwalimu.jobs.store.events import tell

_OURS = ("kind", "priority", "resource", "key", "reserved_usd", "vanished")  # columns of no field


def row_of(db: sqlite3.Connection, name: str) -> sqlite3.Row:
    """Raises JobNotFound."""
    row: sqlite3.Row | None = db.execute("SELECT * FROM jobs WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise JobNotFound("there is no such job", where=name)
    return row


def state_of(db: sqlite3.Connection, name: str) -> State:
    """Raises JobNotFound."""
    return State(row_of(db, name)["state"])


def job_of(row: sqlite3.Row) -> Job:
    values = {key: value for key, value in dict(row).items() if key not in _OURS}
    spec = json.loads(values["spec"])
    for key in ("registers", "uses"):
        spec[key] = tuple(spec.get(key, ()))
    values["spec"] = Spec(**spec)
    values["state"] = State(values["state"])
    values["error"] = None if values["error"] is None else json.loads(values["error"])
    values["summary"] = json.loads(values["summary"])
    values["trace"] = json.loads(values["trace"])
    return Job(**values)


def insert(db: sqlite3.Connection, table: str, values: Mapping[str, Any]) -> None:
    marks = ", ".join("?" for _ in values)
    columns = ", ".join(values)
    db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(values.values()))


def move(db: sqlite3.Connection, name: str, state: State, *, now: float, **found: Any) -> None:
    """`found`: columns that change with the state. Raises WrongState for what FOLLOWS lacks."""
    before = state_of(db, name)
    if state not in FOLLOWS[before]:
        raise WrongState(f"is {before}, and cannot become {state}", where=name)
    values: dict[str, Any] = {"state": state, "changed": now}
    values |= {key: _as_column(value) for key, value in found.items()}
    if state is State.STARTING:
        values["started"] = now
    if state in ENDED:
        values["ended"] = now
    columns = ", ".join(f"{key} = ?" for key in values)
    db.execute(f"UPDATE jobs SET {columns} WHERE name = ?", (*values.values(), name))
    if state not in HELD:
        db.execute("DELETE FROM leases WHERE job = ?", (name,))
    tell(db, name, "state", {"state": state, "before": before}, now=now)


def _as_column(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) else value
