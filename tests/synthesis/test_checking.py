import sqlite3
from pathlib import Path

import pytest

from mwalimu.errors import RunError
from mwalimu.files import exclusive
from mwalimu.synthesis.checking import check_store, rebuild_index
from mwalimu.synthesis.index import FILE
from mwalimu.synthesis.store import AnswerStore
from tests.upkeep.made import store


def forget(folder: Path, table: str) -> None:
    db = sqlite3.connect(folder / FILE)
    with db:
        db.execute(f"DELETE FROM {table}")
    db.close()


def test_an_index_that_passed_over_answers_is_found_and_made_again(tmp_path: Path) -> None:
    answers = store(tmp_path, 7)
    forget(tmp_path, "answers")
    assert check_store(tmp_path).unindexed == 7
    assert rebuild_index(tmp_path) == 7
    assert check_store(tmp_path).unindexed == 0
    with AnswerStore(tmp_path) as opened:
        assert [opened.get(one.key) for one in answers] == [one.raw for one in answers]


@pytest.mark.parametrize("content", [None, b"", b"no database at all" * 100])
def test_an_index_that_is_lost_or_spoilt_is_no_damage(
    tmp_path: Path, content: bytes | None
) -> None:
    """It is made again by whoever opens the store next."""
    store(tmp_path, 3)
    (tmp_path / FILE).unlink()
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    state = check_store(tmp_path)
    assert (state.answers, state.unindexed) == (3, 0)
    assert rebuild_index(tmp_path) == 3


def test_an_index_is_not_taken_from_under_a_run(tmp_path: Path) -> None:
    store(tmp_path, 3)
    with exclusive(tmp_path, "answer store"), pytest.raises(RunError, match="another mwalimu"):
        rebuild_index(tmp_path)
    assert (tmp_path / FILE).exists()


def test_a_folder_without_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no answers"):
        check_store(tmp_path)
