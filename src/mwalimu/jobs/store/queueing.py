"""How a job comes to wait, for the first time or again, inside a transaction."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict

from mwalimu.jobs.records import Job, Spec
from mwalimu.jobs.refusals import WrongState
from mwalimu.jobs.settings import Quotas
from mwalimu.jobs.states import State
from mwalimu.jobs.store.moves import insert, job_of, move, row_of
from mwalimu.jobs.store.quotas import check_jobs, reserved_usd
from mwalimu.jobs.store.versions import require
from mwalimu.jobs.workspace import drawn_name
from mwalimu.telemetry import tracing

_TICK_S = 1e-6


def submit(
    db: sqlite3.Connection,
    spec: Spec,
    quotas: Quotas,
    *,
    owner: str,
    name: str | None,
    key: str | None,
    now: float,
) -> Job:
    """As JobStore.submit says."""
    written = json.dumps(asdict(spec))
    if before := _repeated(db, owner, key, written):
        return before
    name = name or drawn_name()
    _check_free(db, name)
    (newest,) = db.execute("SELECT max(created) FROM jobs").fetchone()
    values = {
        "name": name,
        "owner": owner,
        "state": State.NOT_STARTED,
        "kind": spec.kind,
        "spec": written,
        "priority": spec.priority,
        "resource": spec.resource,
        "created": now if newest is None else max(now, newest + _TICK_S),
        "changed": now,
        "key": key,
        "reserved_usd": reserved_usd(spec) or 0.0,
        "trace": json.dumps(tracing.headers()),
    }
    insert(db, "jobs", values)
    return queue(db, name, quotas, now=now)


def queue(db: sqlite3.Connection, name: str, quotas: Quotas, *, now: float) -> Job:
    """Raises WrongState, also where what it uses is gone; QuotaReached; ConfigError."""
    move(db, name, State.QUEUED, now=now)
    job = job_of(row_of(db, name))
    require(db, job.spec.uses, where=name)
    check_jobs(db, job.owner, job.spec, quotas)
    return job


def _check_free(db: sqlite3.Connection, name: str) -> None:
    """A model's job may be deleted, but its name stays that job's."""
    for table, column, what in (("jobs", "name", "job"), ("models", "job", "model's job")):
        if db.execute(f"SELECT 1 FROM {table} WHERE {column} = ?", (name,)).fetchone():
            raise WrongState(f"there is a {what} of that name", where=name)


def _repeated(db: sqlite3.Connection, owner: str, key: str | None, spec: str) -> Job | None:
    row = db.execute("SELECT * FROM jobs WHERE owner = ? AND key = ?", (owner, key)).fetchone()
    if row is None:
        return None
    if row["spec"] != spec:
        raise WrongState("this key was used for another submission", where=row["name"])
    return job_of(row)
