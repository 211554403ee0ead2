"""What each owner has and may have, looked at inside the change that would add to it.

A check comes after the change it is about: what is too much is undone with its transaction, so
that two at once cannot both pass.

Money is what ended jobs have spent, an unknown sum counted as the whole `budget.usd`, and for
those that have not ended, paused ones too, the whole budget. A deleted job's money stays spent.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from mwalimu.errors import ConfigError
from mwalimu.jobs.records import Role, Spec
from mwalimu.jobs.refusals import QuotaReached
from mwalimu.jobs.settings import Quota, Quotas
from mwalimu.jobs.states import HELD, OVER, sql_list

_SPENT = "CASE WHEN started IS NULL THEN 0.0 ELSE coalesce(spent_usd, reserved_usd) END"
_USD = f"""CASE WHEN state IN ({sql_list(OVER)}) THEN {_SPENT}
    ELSE max(reserved_usd, coalesce(spent_usd, 0)) END"""


@dataclass(frozen=True, slots=True)
class Used:
    """In the words of Quota."""

    waiting: int
    running: int
    usd: float
    dataset_bytes: int


def quota_of(db: sqlite3.Connection, owner: str, quotas: Quotas) -> Quota:
    """By the role of the owner's token; the default for who has none."""
    row = db.execute("SELECT role FROM tokens WHERE name = ?", (owner,)).fetchone()
    return quotas.of(None if row is None else Role(row["role"]))


def used(db: sqlite3.Connection, owner: str) -> Used:
    row = db.execute(
        f"""SELECT
            count(*) FILTER (WHERE state = 'Queued') AS waiting,
            count(*) FILTER (WHERE state IN ({sql_list(HELD)})) AS running,
            total({_USD}) + (SELECT total(usd) FROM spent_before WHERE owner = :owner) AS usd,
            (SELECT coalesce(sum(size), 0) FROM datasets WHERE owner = :owner) AS dataset_bytes
        FROM jobs WHERE owner = :owner""",
        {"owner": owner},
    ).fetchone()
    return Used(**row)


def reserved_usd(spec: Spec) -> float | None:
    """The most that its teacher may cost; None for no limit. An evaluation asks none."""
    if spec.kind != "distillation":
        return 0.0
    usd = spec.config.get("budget", {}).get("usd")
    return None if usd is None else float(usd)


def check_jobs(db: sqlite3.Connection, owner: str, spec: Spec, quotas: Quotas) -> None:
    """Raises QuotaReached; ConfigError where money is limited and the job has no budget."""
    quota, has = quota_of(db, owner, quotas), used(db, owner)
    (queue,) = db.execute("SELECT count(*) FROM jobs WHERE state = 'Queued'").fetchone()
    if queue > quotas.queue:
        raise QuotaReached(
            f"the queue is full: {quotas.queue} jobs wait", where="queue", fix="try again later"
        )
    if quota.waiting is not None and has.waiting > quota.waiting:
        raise QuotaReached(
            f"{owner} may have {quota.waiting} jobs waiting",
            where="waiting",
            fix="wait until one starts, or cancel one",
        )
    if quota.usd is None:
        return
    if reserved_usd(spec) is None:
        raise ConfigError(
            f"is required: {owner} may spend {quota.usd:g} USD", where="budget.usd", fix="set it"
        )
    if has.usd > quota.usd:
        raise QuotaReached(
            f"{owner} may spend {quota.usd:g} USD, and with this job"
            f" {has.usd:g} would be spent or reserved",
            where="budget.usd",
            fix="lower it, or ask for a higher quota",
        )


def check_datasets(db: sqlite3.Connection, owner: str, quotas: Quotas) -> None:
    """Raises QuotaReached."""
    most, has = quota_of(db, owner, quotas).dataset_bytes, used(db, owner).dataset_bytes
    if most is not None and has > most:
        raise QuotaReached(
            f"{owner} may keep {most} bytes of datasets, and with this one has {has}",
            where="dataset_bytes",
            fix="delete one that is not needed",
        )


def keep_spent(db: sqlite3.Connection, job: str) -> None:
    """Of a job that is about to be deleted."""
    db.execute(
        f"INSERT INTO spent_before SELECT owner, {_SPENT} FROM jobs WHERE name = ?"
        " ON CONFLICT (owner) DO UPDATE SET usd = usd + excluded.usd",
        (job,),
    )


def owners_at_limit(db: sqlite3.Connection, quotas: Quotas) -> list[str]:
    """Those who have as many jobs running as they may."""
    rows = db.execute(
        "SELECT owner, count(*) AS running FROM leases JOIN jobs ON jobs.name = leases.job"
        " GROUP BY owner"
    ).fetchall()
    limits = {row["owner"]: quota_of(db, row["owner"], quotas).running for row in rows}
    return [
        row["owner"]
        for row in rows
        if (limit := limits[row["owner"]]) is not None and row["running"] >= limit
    ]
