"""Jobs and who holds them: each method is one transaction, durable when it returns.

A worker proves its right by its lease's token: what it says after the lease ran out, or was given
to another, is refused by `LostLease`, and it has to end.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mwalimu.data.record import Json
from mwalimu.jobs.records import Event, Job, Kind, Lease, Spec
from mwalimu.jobs.refusals import WrongState
from mwalimu.jobs.settings import DEFAULTS, Quota, Quotas
from mwalimu.jobs.states import ENDED, HELD, OVER, STOPS, State, sql_list
from mwalimu.jobs.store import events, leases, queueing
from mwalimu.jobs.store.database import Database
from mwalimu.jobs.store.moves import job_of, move, row_of, state_of
from mwalimu.jobs.store.quotas import Used, keep_spent, quota_of, used

LEASE_S = DEFAULTS.lease_s
MAX_ATTEMPTS = DEFAULTS.max_attempts
DAY_S = 86_400.0

Remove = Callable[[str], object]

_GIVEN = re.compile("/given/([0-9a-f]{64})")
_STEPS = {State.PREPARING, State.RUNNING, State.FINALIZING, *ENDED}  # those of a worker


def _nothing(_name: str) -> None:
    """For who keeps no files."""


_LISTED = (
    "name, owner, state, json_set(spec, '$.config', json_object()) AS spec, created, changed,"
    " started, ended, attempts, error, summary, spent_usd, trace"
)


class JobStore:
    """`clock` gives seconds since 1970, and may jump; `monotonic` times the leases, see there. The
    rest is as in ServiceSettings."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        lease_s: float = LEASE_S,
        max_attempts: int = MAX_ATTEMPTS,
        retention_days: float | None = DEFAULTS.retention_days,
        quotas: Quotas = DEFAULTS.quotas,
    ) -> None:
        self.database = Database(path)
        self.clock = clock
        self.monotonic = monotonic
        self.lease_s = lease_s
        self.max_attempts = max_attempts
        self.retention_days = retention_days
        self.quotas = quotas

    def submit(
        self, spec: Spec, *, owner: str, name: str | None = None, key: str | None = None
    ) -> Job:
        """Queued as soon as this returns. A `key` drawn by the caller makes it safe to repeat:
        the owner's job of that key is returned if there is one.

        Raises:
            WrongState: the name is taken, the key was used for something else, or what the job
                uses is gone.
            QuotaReached: the owner or the queue has no room.
            ConfigError: the owner's money is limited and there is no `budget.usd`.
        """
        with self.database.change() as db:
            return queueing.submit(
                db, spec, self.quotas, owner=owner, name=name, key=key, now=self.clock()
            )

    def get(self, name: str) -> Job:
        """Raises JobNotFound."""
        with self.database.read() as db:
            return job_of(row_of(db, name))

    def jobs(
        self,
        *,
        state: State | None = None,
        owner: str | None = None,
        kind: Kind | None = None,
        limit: int = 100,
        before: float | None = None,
    ) -> list[Job]:
        """The newest first; `before` is the `created` of the last one of the page before.

        Their configs are left out, as {}: they are most of a row, and no list shows them.
        """
        asked = {"state = ?": state, "owner = ?": owner, "kind = ?": kind, "created < ?": before}
        given = {text: value for text, value in asked.items() if value is not None}
        where = f"WHERE {' AND '.join(given)}" if given else ""
        query = f"SELECT {_LISTED} FROM jobs {where} ORDER BY created DESC LIMIT ?"
        with self.database.read() as db:
            return [job_of(row) for row in db.execute(query, (*given.values(), limit))]

    def cancel(self, name: str) -> Job:
        """At once if no worker has it; else as soon as its worker hears of it."""
        return self._stop(name, State.CANCEL_REQUESTED, State.CANCELED)

    def pause(self, name: str) -> Job:
        return self._stop(name, State.PAUSE_REQUESTED, State.PAUSED)

    def resume(self, name: str) -> Job:
        """Queued again; it goes on where it was.

        Raises WrongState unless it has ended short and what it uses is there; QuotaReached.
        """
        with self.database.change() as db:
            db.execute(
                "UPDATE jobs SET attempts = 0, vanished = 0, ended = NULL, error = NULL"
                " WHERE name = ?",
                (name,),
            )
            return queueing.queue(db, name, self.quotas, now=self.clock())

    def delete(self, name: str, *, remove: Remove = _nothing) -> None:
        """`remove` takes its files away, before the name is free for another job.

        Raises WrongState while a worker has it.
        """
        with self.database.change() as db:
            if state_of(db, name) in HELD:
                raise WrongState("a worker has it", where=name, fix="cancel it first")
            _drop(db, name, remove)

    def expire(self, *, remove: Remove = _nothing) -> list[str]:
        """Deletes the jobs that came to an end `retention_days` ago, but for paused ones and the
        sources of registered models; returns their names."""
        gone: list[str] = []
        while self.retention_days is not None:
            with self.database.change() as db:
                name = _expired(db, self.clock() - self.retention_days * DAY_S)
                if name is None:
                    break
                _drop(db, name, remove)
            gone.append(name)
        return gone

    def claim(self, slot: str, resource: str) -> Lease | None:
        """The next waiting job for a free slot, now Starting; None if there is none, or only of
        owners who have as many running as they may."""
        with self.database.change() as db:
            return leases.claim(
                db,
                slot,
                resource,
                self.quotas,
                now=self.clock(),
                monotonic=self.monotonic(),
                lasts=self.lease_s,
            )

    def heartbeat(self, lease: Lease) -> State:
        """Holds it for another `lease.seconds`; returns the job's state, where a request to stop
        is seen. Raises LostLease."""
        with self.database.change() as db:
            monotonic = self.monotonic()
            state = leases.held(db, lease, monotonic=monotonic)
            leases.renew(db, lease, monotonic=monotonic)
            return state

    def advance(self, lease: Lease, state: State, **found: Any) -> None:
        """The worker's own steps; an end gives the lease back.

        `found`: error, summary, spent_usd. A job that was asked to stop stays so until it ends.

        Raises LostLease; WrongState for a step that the table does not know.
        """
        with self.database.change() as db:
            before = leases.held(db, lease, monotonic=self.monotonic())
            if state not in _STEPS:
                raise WrongState(f"no worker makes it {state}", where=lease.job)
            if before in STOPS and state not in ENDED:
                return
            move(db, lease.job, state, now=self.clock(), **found)

    def report(self, lease: Lease, kind: str, data: Json) -> None:
        """An event of the job: "progress" or "spent", in place of those it makes old.

        Raises LostLease.
        """
        with self.database.change() as db:
            leases.held(db, lease, monotonic=self.monotonic())
            events.report(db, lease.job, kind, data, now=self.clock())

    def note_spent(self, name: str, usd: float | None) -> None:
        """What a job has spent in all, where that was not by a worker; None where it is unknown."""
        with self.database.change() as db:
            db.execute("UPDATE jobs SET spent_usd = ? WHERE name = ?", (usd, name))

    def take_back(self) -> list[str]:
        """Jobs whose lease has run out: waiting again, stopped as was asked, or given up."""
        with self.database.change() as db:
            late = leases.late(db, monotonic=self.monotonic())
            for name in late:
                leases.take_back(db, name, self.max_attempts, now=self.clock())
            return late

    def take_back_of(self, lease: Lease) -> bool:
        """The same at once, of a worker that is known to have ended; False if it had ended well."""
        with self.database.change() as db:
            if not leases.is_out(db, lease):
                return False
            leases.take_back(db, lease.job, self.max_attempts, now=self.clock())
            return True

    def give_back(self, lease: Lease) -> None:
        """By a worker that has to end and can say so: the job waits again, as if never claimed.

        Raises LostLease.
        """
        with self.database.change() as db:
            leases.held(db, lease, monotonic=self.monotonic())
            db.execute("UPDATE jobs SET attempts = attempts - 1 WHERE name = ?", (lease.job,))
            leases.let_go(db, lease.job, now=self.clock())

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state that some are in."""
        with self.database.read() as db:
            return dict(db.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall())

    def leases(self) -> list[Lease]:
        with self.database.read() as db:
            return [Lease(**row) for row in db.execute("SELECT * FROM leases ORDER BY slot")]

    def events(self, *, after: int = 0, job: str | None = None, limit: int = 1000) -> list[Event]:
        """In order, those with a number above `after`."""
        with self.database.read() as db:
            return events.after(db, after, job, limit)

    def newest(self, job: str, kind: str) -> list[Event]:
        """Of "spent" the last one; of "progress" the last one of each stage, in order."""
        with self.database.read() as db:
            return events.of_kind(db, job, kind)

    def newest_event(self) -> int:
        """Its number, 0 before the first."""
        with self.database.read() as db:
            return events.newest(db)

    def given(self) -> set[str]:
        """The folders of `given` that a job, or what a model is graded by, names."""
        with self.database.read() as db:
            rows = db.execute(
                "SELECT spec FROM jobs WHERE instr(spec, '/given/') UNION ALL"
                " SELECT properties FROM models WHERE instr(properties, '/given/')"
            )
            return {name for (text,) in rows for name in _GIVEN.findall(text)}

    def standing(self, owner: str) -> tuple[Quota, Used]:
        """What the owner may have, and has."""
        with self.database.read() as db:
            return quota_of(db, owner, self.quotas), used(db, owner)

    def _stop(self, name: str, asked: State, at_once: State) -> Job:
        with self.database.change() as db:
            state = state_of(db, name)
            if state not in (asked, at_once):
                move(db, name, asked if state in HELD else at_once, now=self.clock())
            return job_of(row_of(db, name))


def _expired(db: sqlite3.Connection, since: float) -> str | None:
    row = db.execute(
        f"SELECT name FROM jobs WHERE ended < ? AND +state IN ({sql_list(OVER)})"
        " AND name NOT IN (SELECT job FROM models) ORDER BY ended LIMIT 1",
        (since,),
    ).fetchone()
    return None if row is None else str(row["name"])


def _drop(db: sqlite3.Connection, name: str, remove: Remove) -> None:
    keep_spent(db, name)
    db.execute("DELETE FROM jobs WHERE name = ?", (name,))
    remove(name)
