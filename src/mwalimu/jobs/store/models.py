"""Models by name and version: the rows that tell of their folders in the workspace."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from typing import Any

from mwalimu.jobs.records import RegisteredModel
from mwalimu.jobs.refusals import WrongState
from mwalimu.jobs.store.database import Database
from mwalimu.jobs.store.versions import find, next_version, users
from mwalimu.jobs.workspace import checked_name


class ModelStore:
    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self.clock = clock

    def add(
        self, name: str, *, job: str, folder: str, properties: Mapping[str, Any] = {}
    ) -> RegisteredModel:
        """The next version of `name`; what the job has registered under it if it did before.

        So a worker that is started again registers nothing twice. `folder` is relative to the
        workspace. Raises ConfigError if `name` is no name.
        """
        checked_name(name)
        with self.database.change() as db:
            before = db.execute(
                "SELECT * FROM models WHERE name = ? AND job = ?", (name, job)
            ).fetchone()
            if before is not None:
                return _model(before)
            added = RegisteredModel(
                name,
                next_version(db, f"model:{name}"),
                job,
                folder,
                self.clock(),
                dict(properties),
            )
            db.execute(
                "INSERT INTO models VALUES (?, ?, ?, ?, ?, ?)",
                (name, added.version, job, folder, added.created, json.dumps(added.properties)),
            )
            return added

    def get(self, name: str, version: int | None = None) -> RegisteredModel:
        """The newest without `version`. Raises NotFound."""
        with self.database.read() as db:
            return _model(find(db, "models", "model", name, version))

    def all(self, *, job: str | None = None) -> list[RegisteredModel]:
        """By name, the newest version first; those of one job with `job`."""
        with self.database.read() as db:
            rows = db.execute(
                "SELECT * FROM models WHERE :job IS NULL OR job = :job ORDER BY name, version DESC",
                {"job": job},
            ).fetchall()
        return [_model(row) for row in rows]

    def delete(self, name: str, version: int, *, remove: Callable[[str], object]) -> None:
        """`remove` takes away its folder, if that is no other model's.

        Raises:
            NotFound: there is no such version.
            WrongState: a job uses it.
        """
        with self.database.change() as db:
            folder = find(db, "models", "model", name, version)["folder"]
            if using := users(db, f"model:{name}", version):
                raise WrongState(
                    f"job {using[0]} uses it",
                    where=f"{name}@{version}",
                    fix="cancel the job first",
                )
            db.execute("DELETE FROM models WHERE name = ? AND version = ?", (name, version))
            if not db.execute("SELECT 1 FROM models WHERE folder = ?", (folder,)).fetchone():
                remove(folder)


def _model(row: sqlite3.Row) -> RegisteredModel:
    return RegisteredModel(**{**row, "properties": json.loads(row["properties"])})
