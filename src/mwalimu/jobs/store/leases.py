"""Who holds which job, inside a transaction: one lease a job, one lease a slot.

A lease is timed by the machine's monotonic clock, which all its processes share: the wall clock
may be set while a worker is well. That clock begins anew when the machine does; a lease that lasts
longer than one renewed this moment is therefore of an earlier start, and its worker is gone.
"""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import asdict

from mwalimu.data.record import Json
from mwalimu.jobs.records import Lease
from mwalimu.jobs.refusals import LostLease
from mwalimu.jobs.settings import Quotas
from mwalimu.jobs.states import STOPS, State
from mwalimu.jobs.store.moves import insert, move, row_of, state_of
from mwalimu.jobs.store.quotas import owners_at_limit

_GIVEN_UP: Json = {
    "what": "its worker vanished too often",
    "where": "",
    "fix": "look at its log, then resume it",
    "exit_code": 1,
}

_OVER = "expires < :now OR expires > :now + seconds"


def claim(
    db: sqlite3.Connection,
    slot: str,
    resource: str,
    quotas: Quotas,
    *,
    now: float,
    monotonic: float,
    lasts: float,
) -> Lease | None:
    """The first in line whose owner may have one more running; None if there is none."""
    if db.execute("SELECT 1 FROM leases WHERE slot = ?", (slot,)).fetchone():
        return None
    passed_over = owners_at_limit(db, quotas)
    row = db.execute(
        "SELECT name FROM jobs WHERE state = 'Queued' AND resource = ?"
        f" AND owner NOT IN ({', '.join('?' for _ in passed_over)})"
        " ORDER BY priority DESC, created LIMIT 1",
        (resource, *passed_over),
    ).fetchone()
    if row is None:
        return None
    lease = Lease(row["name"], secrets.token_hex(16), slot, monotonic + lasts, lasts)
    insert(db, "leases", asdict(lease))
    db.execute("UPDATE jobs SET attempts = attempts + 1 WHERE name = ?", (lease.job,))
    move(db, lease.job, State.STARTING, now=now)
    return lease


def held(db: sqlite3.Connection, lease: Lease, *, monotonic: float) -> State:
    """The state of the job that it holds. Raises LostLease."""
    row = db.execute(
        "SELECT state FROM leases JOIN jobs ON jobs.name = leases.job"
        f" WHERE job = :job AND token = :token AND NOT ({_OVER})",
        {"job": lease.job, "token": lease.token, "now": monotonic},
    ).fetchone()
    if row is None:
        raise LostLease(lease.job)
    return State(row["state"])


def renew(db: sqlite3.Connection, lease: Lease, *, monotonic: float) -> None:
    db.execute(
        "UPDATE leases SET expires = ? WHERE job = ?", (monotonic + lease.seconds, lease.job)
    )


def late(db: sqlite3.Connection, *, monotonic: float) -> list[str]:
    """The jobs whose lease has run out."""
    rows = db.execute(f"SELECT job FROM leases WHERE {_OVER}", {"now": monotonic})
    return [job for (job,) in rows]


def is_out(db: sqlite3.Connection, lease: Lease) -> bool:
    """Whether nobody has given or taken it back, be it late."""
    query = "SELECT 1 FROM leases WHERE job = ? AND token = ?"
    return db.execute(query, (lease.job, lease.token)).fetchone() is not None


def let_go(db: sqlite3.Connection, job: str, *, now: float) -> None:
    """Stopped if that was asked, else waiting again."""
    state = state_of(db, job)
    if state in STOPS:
        move(db, job, STOPS[state], now=now)
    else:
        move(db, job, State.NOT_RESPONDING, now=now)
        move(db, job, State.QUEUED, now=now)


def take_back(db: sqlite3.Connection, job: str, most: int, *, now: float) -> None:
    """As `let_go`, but given up once `most` workers have vanished without a new stage."""
    row = row_of(db, job)
    db.execute("UPDATE jobs SET vanished = vanished + 1 WHERE name = ?", (job,))
    if State(row["state"]) in STOPS or row["vanished"] + 1 < most:
        let_go(db, job, now=now)
    else:
        move(db, job, State.NOT_RESPONDING, now=now)
        move(db, job, State.FAILED, now=now, error=_GIVEN_UP)
