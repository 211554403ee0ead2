"""The answer store: durable, torn tails, a lost index, a full disk, one writer."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from mwalimu.errors import DiskFull, RunError
from mwalimu.synthesis.store import SEGMENT, AnswerStore


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def fill(folder: Path, *names: str) -> None:
    with AnswerStore(folder) as store:
        store.put([(key(name), name.encode() * 10) for name in names])


def test_answers_are_found_in_the_next_life(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    with AnswerStore(tmp_path) as store:
        assert store.get(key("a")) == b"a" * 10
        assert store.get(key("c")) is None


def test_sent_without_an_answer_is_remembered(tmp_path: Path) -> None:
    with AnswerStore(tmp_path) as store:
        store.mark_sent([key("a"), key("b")])
        store.put([(key("a"), b"x")])
    with AnswerStore(tmp_path) as store:
        assert [store.was_sent(key(name)) for name in "abc"] == [False, True, False]


def test_a_tail_torn_at_any_byte_costs_only_the_torn_frame(tmp_path: Path) -> None:
    fill(tmp_path / "whole", "a", "b")
    whole = (tmp_path / "whole" / SEGMENT).read_bytes()
    end_of_a = len(whole) - (1 + 32 + 8 + 10)
    for size in range(end_of_a, len(whole)):
        folder = tmp_path / str(size)
        folder.mkdir()
        (folder / SEGMENT).write_bytes(whole[:size])
        with AnswerStore(folder) as store:
            assert store.get(key("a")) == b"a" * 10
            assert store.get(key("b")) is None
            store.put([(key("c"), b"c")])
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
            store.put([(key("b"), b"b")])
        monkeypatch.undo()
        assert store.get(key("a")) == b"a" * 10 and store.get(key("b")) is None
        store.put([(key("b"), b"again")])
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
