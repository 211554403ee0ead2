from pathlib import Path

import pytest

from mwalimu.data.batched_generation import Answer
from mwalimu.evaluation.journal import Journal

FIRST = [Answer("an answer\nof two lines \U0001f600", 5, True), Answer("cut", 9, False)]
SECOND = [Answer("", 1, True)]


def filled(path: Path) -> Journal:
    journal = Journal.opened(path, "fp")
    journal.add([2, 0], FIRST, seconds=1.5, joules=None, peak_mib=7.0)
    journal.add([1], SECOND, seconds=0.5, joules=2.0, peak_mib=3.0)
    return journal


def test_a_journal_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "arm.jsonl"
    written, read = filled(path), Journal.opened(path, "fp")
    assert written == read
    assert read.answers == {2: FIRST[0], 0: FIRST[1], 1: SECOND[0]}
    assert (read.seconds, read.joules, read.peak_mib) == (2.0, None, 7.0)


def test_a_line_that_was_cut_or_changed_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "arm.jsonl"
    filled(path)
    whole = path.read_bytes()
    header, first, *_ = whole.split(b"\n")
    before = len(header) + len(first) + 2
    for size in {*range(0, len(whole), 17), before - 2, before - 1, before, len(whole) - 1}:
        path.write_bytes(whole[:size])
        read = Journal.opened(path, "fp")
        # The newline alone may lack: what it ends is whole.
        wanted = {0, 1, 2} if size == len(whole) - 1 else {0, 2} if size >= before - 1 else set()
        assert set(read.answers) == wanted, size
    path.write_bytes(whole.replace(b"cut", b"cat"))
    assert Journal.opened(path, "fp").answers == {}


def test_it_goes_on_after_damage(tmp_path: Path) -> None:
    path = tmp_path / "arm.jsonl"
    filled(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    journal = Journal.opened(path, "fp")
    journal.add([1], SECOND, seconds=0.5, joules=2.0, peak_mib=3.0)
    assert path.read_bytes() == whole


def test_answers_of_something_else_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "arm.jsonl"
    filled(path)
    assert Journal.opened(path, "other").answers == {}
    assert Journal.opened(path, "fp").answers == {}


def test_energy_is_known_where_every_batch_knows_it(tmp_path: Path) -> None:
    journal = Journal.opened(tmp_path / "arm.jsonl", "fp")
    journal.add([0], SECOND, seconds=1, joules=2.0, peak_mib=None)
    journal.add([1], SECOND, seconds=1, joules=3.0, peak_mib=None)
    assert journal.joules == pytest.approx(5.0) and journal.peak_mib is None
