import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from mwalimu.errors import DiskFull, RunError
from mwalimu.jobs.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(tmp_path / "service.db")
    with made.change() as db:
        db.execute("CREATE TABLE t (x BLOB)")
    return made


def count(database: Database) -> int:
    with database.read() as db:
        return int(db.execute("SELECT count(*) FROM t").fetchone()[0])


def test_a_change_is_whole_or_not_there(database: Database) -> None:
    with pytest.raises(KeyboardInterrupt), database.change() as db:
        db.execute("INSERT INTO t VALUES (1)")
        raise KeyboardInterrupt
    assert count(database) == 0
    with database.change() as db:
        db.execute("INSERT INTO t VALUES (1)")
    assert count(database) == 1


def test_a_read_is_of_one_moment(database: Database) -> None:
    with database.read() as first:
        first.execute("SELECT * FROM t").fetchall()
        with database.change() as db:
            db.execute("INSERT INTO t VALUES (1)")
        assert first.execute("SELECT count(*) FROM t").fetchone()[0] == 0
    assert count(database) == 1


def test_threads_share_the_connections(database: Database, tmp_path: Path) -> None:
    for _ in range(20):
        thread = threading.Thread(target=count, args=(database,))
        thread.start()
        thread.join()
    open_files = [os.readlink(f"/proc/self/fd/{fd}") for fd in _descriptors()]
    assert open_files.count(str(tmp_path / "service.db")) == 1
    database.close()
    assert str(tmp_path / "service.db") not in [
        os.readlink(f"/proc/self/fd/{fd}") for fd in _descriptors()
    ]


def _descriptors() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]


def test_a_new_file_that_another_reads_is_waited_for(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "new.db", isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE t (x)")
    other.execute("BEGIN")
    other.execute("SELECT * FROM t").fetchall()
    ending = threading.Timer(0.2, other.execute, ["COMMIT"])
    ending.start()
    assert count(Database(tmp_path / "new.db")) == 0
    ending.join()
    other.close()


def _no_rollback(action: int, what: str | None, *_: str | None) -> int:
    denied = action == sqlite3.SQLITE_TRANSACTION and what == "ROLLBACK"
    return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK


def test_a_rollback_that_fails_leaves_no_transaction_open(database: Database) -> None:
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"), database.change() as db:
        db.execute("INSERT INTO t VALUES (1)")
        db.set_authorizer(_no_rollback)
        raise KeyError
    with database.change() as db:
        db.execute("INSERT INTO t VALUES (2)")
    assert count(database) == 1


def test_a_full_disk_is_said_and_loses_nothing(database: Database) -> None:
    with database.change() as db:
        db.execute("INSERT INTO t VALUES (1)")
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    with database.read() as db:
        db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFull, match="full; what is in it is whole"), database.change() as db:
        db.execute("INSERT INTO t VALUES (zeroblob(1000000))")
    assert count(database) == 1
    with database.read() as db:
        db.execute("PRAGMA max_page_count = 100000")
    with database.change() as db:
        db.execute("INSERT INTO t VALUES (zeroblob(1000000))")
    assert count(database) == 2


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "service.db"
    path.write_text("a diary, not a database\n" * 100)
    with pytest.raises(RunError, match=r"service.db: file is not a database; name another"):
        Database(path)


def test_a_mistake_of_ours_is_not_explained_away(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"), database.read() as db:
        db.execute("SELECT * FROM nowhere")
    with pytest.raises(sqlite3.IntegrityError), database.change() as db:
        db.execute("INSERT INTO migrations SELECT * FROM migrations")


def test_others_cannot_read_the_file(database: Database, tmp_path: Path) -> None:
    database.close()
    for path in tmp_path.iterdir():
        assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), path
