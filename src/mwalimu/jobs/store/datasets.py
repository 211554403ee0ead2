"""Datasets by name and version: the rows that tell of the files in `<workspace>/datasets/`.

A file is named by its bytes and may be that of several versions. It is put in its place and taken
away inside the change that makes or ends its last row, so that no row is ever without its file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict

from mwalimu.jobs.records import RegisteredDataset
from mwalimu.jobs.refusals import NotFound, WrongState
from mwalimu.jobs.settings import DEFAULTS, Quotas
from mwalimu.jobs.store.database import Database
from mwalimu.jobs.store.moves import insert
from mwalimu.jobs.store.quotas import check_datasets
from mwalimu.jobs.store.versions import find, next_version, users
from mwalimu.jobs.workspace import checked_name


class DatasetStore:
    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.time,
        quotas: Quotas = DEFAULTS.quotas,
    ) -> None:
        self.database = database
        self.clock = clock
        self.quotas = quotas

    def add(
        self,
        name: str,
        *,
        sha256: str,
        rows: int,
        size: int,
        task: str,
        file: str,
        owner: str,
        place: Callable[[], object],
    ) -> RegisteredDataset:
        """The next version; the newest one itself if that has these bytes for this task.

        `size` in bytes; `file` relative to the workspace. `place` puts the file there: it is
        called while nothing can take the file away.

        Raises:
            ConfigError: `name` is no name.
            WrongState: the name is another owner's.
            QuotaReached: the owner may not keep so many bytes.
        """
        checked_name(name)
        with self.database.change() as db:
            newest = db.execute(_NEWEST, (name,)).fetchone()
            if newest is not None and newest["owner"] != owner:
                raise WrongState("is another owner's dataset", where=name, fix="use another name")
            if newest is not None and (newest["sha256"], newest["task"]) == (sha256, task):
                place()
                return RegisteredDataset(**newest)
            added = RegisteredDataset(
                name=name,
                version=next_version(db, f"dataset:{name}"),
                sha256=sha256,
                rows=rows,
                size=size,
                task=task,
                file=file,
                owner=owner,
                created=self.clock(),
            )
            insert(db, "datasets", asdict(added))
            check_datasets(db, owner, self.quotas)
            place()
            return added

    def get(self, name: str, version: int | None = None) -> RegisteredDataset:
        """The newest without `version`. Raises NotFound."""
        with self.database.read() as db:
            return RegisteredDataset(**find(db, "datasets", "dataset", name, version))

    def all(self) -> list[RegisteredDataset]:
        """By name, the newest version first."""
        with self.database.read() as db:
            rows = db.execute("SELECT * FROM datasets ORDER BY name, version DESC").fetchall()
        return [RegisteredDataset(**row) for row in rows]

    def users(self, name: str) -> list[str]:
        """Jobs that have not come to an end and use a version of it; a paused one counts."""
        with self.database.read() as db:
            return users(db, f"dataset:{name}")

    def delete(self, name: str, *, remove: Callable[[str], object]) -> None:
        """Every version of it. `remove` takes away each `file` that is no other version's.

        Raises:
            NotFound: there is none of that name.
            WrongState: a job uses it.
        """
        with self.database.change() as db:
            files = [
                file
                for (file,) in db.execute(
                    "SELECT DISTINCT file FROM datasets WHERE name = ?", (name,)
                )
            ]
            if not files:
                raise NotFound("there is no such dataset", where=name)
            if using := users(db, f"dataset:{name}"):
                raise WrongState(f"job {using[0]} uses it", where=name, fix="cancel the job first")
            db.execute("DELETE FROM datasets WHERE name = ?", (name,))
            for file in files:
                if not db.execute("SELECT 1 FROM datasets WHERE file = ?", (file,)).fetchone():
                    remove(file)


_NEWEST = "SELECT * FROM datasets WHERE name = ? ORDER BY version DESC LIMIT 1"
