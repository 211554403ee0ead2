"""A look at the answer store that leaves no trace in it."""

from pathlib import Path

from mwalimu.files import exclusive
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.index import Spend, StoredKeys
from mwalimu.synthesis.store import AnswerStore, Stored

KEYS = [f"{i:064x}" for i in range(3)]
RUN = b"\x01" * 16


def fill(folder: Path, keys: list[str]) -> None:
    with AnswerStore(folder, RUN.hex()) as store:
        store.mark_sent((key, Cost(9, 9, 9)) for key in keys)
        store.put([Stored(key, Cost(2, 1, 5), b"answer") for key in keys])


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_it_finds_what_is_there_and_touches_nothing(tmp_path: Path) -> None:
    fill(tmp_path, KEYS[:2])
    before = files(tmp_path)
    with exclusive(tmp_path, "answer store"), StoredKeys(tmp_path) as keys:
        assert [keys.holds(key) for key in KEYS] == [True, True, False]
        assert keys.spend(RUN) == Spend(2, 2, 4, 2, 10)
    assert files(tmp_path) == before


def test_a_store_that_is_being_written_is_read_as_far_as_its_index_goes(tmp_path: Path) -> None:
    fill(tmp_path, KEYS[:1])
    with AnswerStore(tmp_path) as store:
        store.put([Stored(KEYS[1], Cost(), b"answer")])
        store.flush()
        store.put([Stored(KEYS[2], Cost(), b"answer")])
        with StoredKeys(tmp_path) as keys:
            assert [keys.holds(key) for key in KEYS] == [True, True, False]
    with StoredKeys(tmp_path) as keys:
        assert keys.holds(KEYS[2])


def test_no_index_no_folder_and_a_damaged_index_know_of_nothing(tmp_path: Path) -> None:
    missing = tmp_path / "none ?#"
    with StoredKeys(missing) as keys:
        assert not keys.holds(KEYS[0]) and keys.spend(RUN) == Spend()
    assert not missing.exists()
    for content in (b"", b"this is no database" * 100):
        (tmp_path / "index.sqlite3").write_bytes(content)
        with StoredKeys(tmp_path) as keys:
            assert not keys.holds(KEYS[0])
        assert files(tmp_path) == {"index.sqlite3": content}


def test_a_log_without_its_map_makes_no_file(tmp_path: Path) -> None:
    fill(tmp_path, KEYS[:1])
    (tmp_path / "index.sqlite3-wal").write_bytes(b"")
    with StoredKeys(tmp_path) as keys:
        assert keys.holds(KEYS[0])
    assert not (tmp_path / "index.sqlite3-shm").exists()
