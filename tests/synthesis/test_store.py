"""The answer store: durable, torn tails, a lost index, a full disk, one writer."""

import errno
import hashlib
import os
import sqlite3
from pathlib import Path

import pytest

from mwalimu.errors import DiskFull, RunError
from mwalimu.synthesis.frames import HEAD, Cost
from mwalimu.synthesis.index import Spend
from mwalimu.synthesis.store import SEGMENT, AnswerStore, Stored

COST = Cost(7, 3, 1_000)


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def stored(name: str, raw: bytes | None = None) -> Stored:
    return Stored(key(name), COST, name.encode() * 10 if raw is None else raw)


def fill(folder: Path, *names: str) -> None:
    with AnswerStore(folder) as store:
        store.put([stored(name) for name in names])


def test_answers_are_found_in_the_next_life(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    with AnswerStore(tmp_path) as store:
        assert store.get(key("a")) == b"a" * 10
        assert store.get(key("c")) is None


def test_sent_without_an_answer_is_remembered(tmp_path: Path) -> None:
    with AnswerStore(tmp_path) as store:
        store.mark_sent([(key("a"), COST), (key("b"), COST)])
        store.put([stored("a")])
    with AnswerStore(tmp_path) as store:
        assert [store.was_sent(key(name)) for name in "abc"] == [False, True, False]


def test_a_tail_torn_at_any_byte_costs_only_the_torn_frame(tmp_path: Path) -> None:
    fill(tmp_path / "whole", "a", "b")
    whole = (tmp_path / "whole" / SEGMENT).read_bytes()
    end_of_a = len(whole) - (HEAD.size + 10)
    for size in range(end_of_a, len(whole)):
        folder = tmp_path / str(size)
        folder.mkdir()
        (folder / SEGMENT).write_bytes(whole[:size])
        with AnswerStore(folder) as store:
            assert store.get(key("a")) == b"a" * 10
            assert store.get(key("b")) is None
            store.put([stored("c", b"c")])
        with AnswerStore(folder) as store:
            assert store.get(key("c")) == b"c"


def test_a_flipped_bit_is_not_an_answer(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    path = tmp_path / SEGMENT
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (tmp_path / "index.sqlite3").unlink()
    with AnswerStore(tmp_path) as store:
        assert store.get(key("a")) is not None and store.get(key("b")) is None


@pytest.mark.parametrize("damage", [b"", b"not a database at all, but long enough" * 200])
def test_a_lost_or_damaged_index_is_rebuilt(tmp_path: Path, damage: bytes) -> None:
    fill(tmp_path, "a", "b")
    for path in tmp_path.glob("index.sqlite3*"):
        path.unlink()
    if damage:
        (tmp_path / "index.sqlite3").write_bytes(damage)
    with AnswerStore(tmp_path) as store:
        assert store.get(key("b")) == b"b" * 10


def test_a_full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a")
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        real(descriptor, bytes(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with AnswerStore(tmp_path) as store:
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(DiskFull):
            store.put([stored("b")])
        monkeypatch.undo()
        assert store.get(key("a")) == b"a" * 10 and store.get(key("b")) is None
        store.put([stored("b", b"again")])
    with AnswerStore(tmp_path) as store:
        assert store.get(key("b")) == b"again"


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with AnswerStore(tmp_path), pytest.raises(RunError, match="another mwalimu"):
        AnswerStore(tmp_path)
    fill(tmp_path, "a")


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / SEGMENT).write_bytes(b"something else entirely\n")
    with pytest.raises(RunError, match="not an answer store"):
        AnswerStore(tmp_path)
    assert (tmp_path / SEGMENT).read_bytes() == b"something else entirely\n"


def test_damage_in_the_middle_costs_one_answer_and_hides_none(tmp_path: Path) -> None:
    names = [f"n{i}" for i in range(50)]
    fill(tmp_path, *names)
    path = tmp_path / SEGMENT
    data = bytearray(path.read_bytes())
    for lost in (10, 30):
        at = data.index(names[lost].encode() * 10)
        data[at] ^= 1
    data[data.index(b"n20" * 10) - 8] ^= 0xFF  # of the length: the frame after it has to be found
    path.write_bytes(data)
    for life in range(2):
        if life:
            (tmp_path / "index.sqlite3").unlink()
        with AnswerStore(tmp_path) as store:
            missing = [name for name in names if store.get(key(name)) is None]
        assert missing == ["n10", "n20", "n30"]
    assert path.stat().st_size == len(data)


def test_a_run_s_spending_is_known_in_all_its_lives(tmp_path: Path) -> None:
    run, other = "a" * 32, "b" * 32
    worst = Cost(100, 50, 9_000)
    with AnswerStore(tmp_path, run) as store:
        store.mark_sent([(key(name), worst) for name in "abc"])
        store.put([stored("a")])
        store.mark_unbilled([key("b")])
        assert store.spend().nano_usd == 1_000
    with AnswerStore(tmp_path, other) as store:
        assert store.spend() == Spend()
        store.mark_sent([(key("x"), Cost(1, 1, None))])
        store.put([Stored(key("x"), Cost(1, 1, None), b"x")])
        assert store.spend().unpriced == 1
    (tmp_path / "index.sqlite3").unlink()
    with AnswerStore(tmp_path, run) as store:
        spent = store.spend()
        assert spent[:6] == (3, 1, 7, 3, 1_000, 0)
        assert (spent.open_requests, spent.open_tokens, spent.open_nano_usd) == (1, 150, 9_000)
        # The lost one is asked again, and answered: its first going out may still be billed.
        store.mark_sent([(key("c"), worst)])
        store.put([stored("c")])
        assert store.spend().open_requests == 1 and store.spend().answers == 2


def test_an_index_of_an_older_version_is_made_again(tmp_path: Path) -> None:
    fill(tmp_path, "a")
    (tmp_path / "index.sqlite3").unlink()
    with sqlite3.connect(tmp_path / "index.sqlite3") as db:
        db.executescript("CREATE TABLE answers (key BLOB); CREATE TABLE state (end INTEGER);")
        db.execute("INSERT INTO state VALUES (18)")
    db.close()
    with AnswerStore(tmp_path) as store:
        assert store.get(key("a")) == b"a" * 10


def test_large_answers_and_many_frames_are_found_again(tmp_path: Path) -> None:
    big = bytes(range(256)) * 40_000  # 10 MB: more than the piece that is read at once
    with AnswerStore(tmp_path) as store:
        for i in range(2_500):
            store.put([stored(f"s{i}")])
        store.put([stored("big", big)])
        store.put([stored("after")])
        assert store.get(key("big")) == big
    (tmp_path / "index.sqlite3").unlink()
    with AnswerStore(tmp_path) as store:
        assert store.get(key("big")) == big
        assert all(store.get(key(f"s{i}")) for i in range(0, 2_500, 97))
        assert store.get(key("after")) == b"after" * 10
