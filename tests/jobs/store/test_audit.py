import sqlite3
from pathlib import Path

import pytest

from mwalimu.jobs.store.audit import AuditLog, Entry
from mwalimu.jobs.store.database import Database
from tests.jobs.clock import Clock


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(Database(tmp_path / "service.db"), clock=Clock(7.0))


def note(log: AuditLog, on: str) -> None:
    log.add(who="asha", what="POST /v1/jobs", on=on, status=201, address="127.0.0.1")


def test_entries_are_in_order_after_a_number(log: AuditLog) -> None:
    for on in ("a", "b", "c"):
        note(log, on)
    assert log.entries(limit=1) == [Entry(1, 7.0, "asha", "POST /v1/jobs", "a", 201, "127.0.0.1")]
    assert [entry.on for entry in log.entries(after=1)] == ["b", "c"]
    assert log.entries(after=3) == []


@pytest.mark.parametrize("statement", ["DELETE FROM audit", "UPDATE audit SET who = 'juma'"])
def test_it_only_grows(log: AuditLog, statement: str) -> None:
    note(log, "a")
    with pytest.raises(sqlite3.IntegrityError, match="only grows"), log.database.change() as db:
        db.execute(statement)
    assert [entry.who for entry in log.entries()] == ["asha"]
