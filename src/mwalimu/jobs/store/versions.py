"""Numbers of versions: from 1, one by one, and never given twice, even after a delete."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from mwalimu.jobs.refusals import NotFound, WrongState
from mwalimu.jobs.states import OVER, State, sql_list

_LIVE = sql_list(set(State) - OVER)


def next_version(db: sqlite3.Connection, of: str) -> int:
    """`of` is `dataset:NAME` or `model:NAME`; to be called inside a change."""
    (number,) = db.execute(
        "INSERT INTO versions VALUES (?, 1)"
        " ON CONFLICT (of) DO UPDATE SET newest = newest + 1 RETURNING newest",
        (of,),
    ).fetchone()
    return int(number)


def find(
    db: sqlite3.Connection, table: str, what: str, name: str, version: int | None
) -> sqlite3.Row:
    """The newest without `version`. Raises NotFound, which calls it `what`."""
    row: sqlite3.Row | None = db.execute(
        f"SELECT * FROM {table} WHERE name = :name AND version = coalesce(:version,"
        f" (SELECT max(version) FROM {table} WHERE name = :name))",
        {"name": name, "version": version},
    ).fetchone()
    if row is None:
        where = name if version is None else f"{name}@{version}"
        raise NotFound(f"there is no such {what}", where=where)
    return row


def users(db: sqlite3.Connection, of: str, version: int | None = None) -> list[str]:
    """The jobs that have not come to an end and use `of`, in any version or that one.

    A paused job counts: it is meant to go on.
    """
    rows = db.execute(
        "SELECT DISTINCT jobs.name FROM jobs INDEXED BY jobs_by_state,"
        " json_each(jobs.spec, '$.uses') AS used"
        f" WHERE jobs.state IN ({_LIVE})"
        " AND substr(used.value, 1, instr(used.value, '@') - 1) = :of"
        " AND (:version IS NULL OR used.value = :of || '@' || :version) ORDER BY jobs.created",
        {"of": of, "version": version},
    )
    return [name for (name,) in rows]


def require(db: sqlite3.Connection, uses: Iterable[str], *, where: str) -> None:
    """Raises WrongState unless each `dataset:NAME@VERSION` and `model:NAME@VERSION` is there."""
    for used in uses:
        kind, _, versioned = used.partition(":")
        name, _, version = versioned.rpartition("@")
        table = {"dataset": "datasets", "model": "models"}[kind]
        query = f"SELECT 1 FROM {table} WHERE name = ? AND version = ?"
        if not db.execute(query, (name, int(version))).fetchone():
            raise WrongState(f"uses {used}, which is gone", where=where)
