"""A file of every schema that ever was is brought to the newest, with what is in it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import pytest

from mwalimu.errors import RunError
from mwalimu.jobs.states import State
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.store.migrations import MIGRATIONS, migrate
from tests.command import processes
from tests.jobs.hammer import open_at_once

SHIPPED = {
    "jobs": "33d1c5e4cf66",
    "tokens, datasets, models, audit": "b060003f0817",
    "quotas, repeated submits, retention": "996fe03fce2a",
    "webhooks": "6b30acc6a7e6",
    "what a full store looks like": "c31088358aed",
}
SPEC = {
    "kind": "distillation",
    "config": {"budget": {"usd": 4}},
    "display_name": "",
    "experiment_name": "",
    "tags": {},
    "priority": 0,
    "resource": "cpu",
    "registers": ["m"],
    "webhook": None,
}


def old_file(path: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a job that waits and one that is held, as the first schema can say it."""
    with monkeypatch.context() as earlier:
        earlier.setattr("mwalimu.jobs.store.migrations.MIGRATIONS", MIGRATIONS[:steps])
        connection = sqlite3.connect(path, isolation_level=None)
        migrate(connection, where=str(path))
    for name, state in (("waits", "Queued"), ("held", "Running")):
        connection.execute(
            "INSERT INTO jobs"
            " (name, owner, state, kind, spec, priority, resource, created, changed)"
            " VALUES (?, 'asha', ?, 'distillation', ?, 0, 'cpu', 1.0, 2.0)",
            (name, state, json.dumps(SPEC)),
        )
    connection.execute(
        "INSERT INTO leases (job, token, slot, expires) VALUES ('held', 't', 'cpu:0', 9e9)"
    )
    connection.execute(
        "INSERT INTO events (job, time, kind, data) VALUES ('held', 1.0, 'state', '{}')"
    )
    connection.close()


def schema(path: Path) -> list[tuple[str, ...]]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name")
    found = [tuple(row) for row in rows]
    connection.close()
    return found


def test_what_was_shipped_is_never_changed() -> None:
    assert {
        name: hashlib.sha256(script.encode()).hexdigest()[:12] for name, script in MIGRATIONS
    }.items() >= SHIPPED.items()
    assert [name for name, _ in MIGRATIONS][: len(SHIPPED)] == list(SHIPPED)


@pytest.mark.parametrize("steps", range(1, len(MIGRATIONS) + 1))
def test_an_earlier_file_is_brought_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    old_file(tmp_path / "old.db", steps, monkeypatch)
    store = JobStore(tmp_path / "old.db")
    JobStore(tmp_path / "new.db")
    assert schema(tmp_path / "old.db") == schema(tmp_path / "new.db")
    assert store.get("waits").spec.registers == ("m",) and store.get("waits").spec.uses == ()
    (lease,) = store.leases()
    assert (lease.job, lease.token, lease.seconds) == ("held", "t", 30.0)
    assert len(store.events(job="held")) == 1
    expected = 8.0 if steps < 3 else 0.0  # from the third on, a submit writes it
    assert store.standing("asha")[1].usd == expected
    assert store.take_back() == ["held"], "a lease by the wall clock, as they were, is over"
    assert store.get("held").state is State.QUEUED


def test_a_file_of_a_newer_mwalimu_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "service.db"
    store = JobStore(path)
    with store.database.change() as db:
        db.execute("INSERT INTO migrations VALUES ('wings', 1.0)")
    before = schema(path)
    with pytest.raises(
        RunError, match=r"service.db: was written by a newer mwalimu \(it knows 'wi"
    ) as e:
        JobStore(path)
    assert "\n" not in str(e.value) and schema(path) == before


def test_a_step_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "service.db"
    old_file(path, 1, monkeypatch)
    before = schema(path)
    broken = (*MIGRATIONS, ("broken", "CREATE TABLE x (y); CREATE TABLE x (y);"))
    monkeypatch.setattr("mwalimu.jobs.store.migrations.MIGRATIONS", broken)
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        JobStore(path)
    assert schema(path) == before


@pytest.mark.parametrize("steps", [0, 1])
def test_several_processes_bring_it_forward_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    for number in range(3):
        path, go = tmp_path / f"{number}.db", tmp_path / f"go{number}"
        if steps:
            old_file(path, steps, monkeypatch)
        several = [processes().Process(target=open_at_once, args=(path, go)) for _ in range(4)]
        for process in several:
            process.start()
        go.touch()
        for process in several:
            process.join()
        assert [process.exitcode for process in several] == [0] * 4
        with JobStore(path).database.read() as db:
            seen = db.execute("SELECT count(*) FROM migrations").fetchone()[0]
        assert seen == len(MIGRATIONS)
