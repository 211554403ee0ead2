from pathlib import Path

import pytest

from mwalimu.errors import RunError
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.sharing import TOGETHER, take_answers
from mwalimu.synthesis.store import SEGMENT, AnswerStore, Stored

THEIRS, OURS = "11" * 16, "22" * 16


def stored(number: int) -> Stored:
    return Stored(f"{number:064x}", Cost(1, 2, 3), b"answer %d" % number)


def fill(folder: Path, *numbers: int) -> None:
    with AnswerStore(folder, THEIRS) as store:
        for number in numbers:
            answer = stored(number)
            store.mark_sent([(answer.key, answer.cost)])
            store.put([answer])


def test_what_is_lacking_is_copied_once(tmp_path: Path) -> None:
    count = TOGETHER + 10
    fill(tmp_path / "theirs", *range(count))
    fill(tmp_path / "ours", 3)
    assert take_answers(tmp_path / "theirs", tmp_path / "ours") == (count - 1, 1)
    assert take_answers(tmp_path / "theirs", tmp_path / "ours") == (0, count)
    with AnswerStore(tmp_path / "ours", OURS) as store:
        assert all(store.find(stored(n).key) == stored(n) for n in range(count))


def test_they_are_on_nobodys_account(tmp_path: Path) -> None:
    fill(tmp_path / "theirs", 1, 2)
    take_answers(tmp_path / "theirs", tmp_path / "ours")
    for account in (THEIRS, OURS):
        with AnswerStore(tmp_path / "ours", account) as store:
            assert store.spend().answers == 0


def test_the_other_store_may_be_in_use(tmp_path: Path) -> None:
    with AnswerStore(tmp_path / "theirs", THEIRS) as store:
        store.put([stored(1)])
        assert take_answers(tmp_path / "theirs", tmp_path / "ours") == (1, 0)


def test_a_torn_tail_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path / "theirs", 1, 2)
    segment = tmp_path / "theirs" / SEGMENT
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-3])
    assert take_answers(tmp_path / "theirs", tmp_path / "ours") == (1, 0)
    assert segment.read_bytes() == whole[:-3]


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no answers"):
        take_answers(tmp_path / "none", tmp_path / "ours")
    (tmp_path / SEGMENT).write_bytes(b"something else entirely")
    with pytest.raises(RunError, match="not an answer store"):
        take_answers(tmp_path, tmp_path / "ours")
