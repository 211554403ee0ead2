"""A set that is checked in the pass that uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mwalimu.data.asked import asked_digest
from mwalimu.data.dataset import Checking, open_dataset
from mwalimu.data.record import Message, Record
from mwalimu.errors import DataError


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("most", [None, 2, 9])
def test_one_pass_gives_what_checking_first_gives(tmp_path: Path, most: int | None) -> None:
    path = write(tmp_path / "rows.jsonl", [{"prompt": f"p{n}"} for n in range(5)])
    first = open_dataset(path, task="qa", split="train", max_rows=most)
    checking = Checking(path, task="qa", split="train", max_rows=most)
    with pytest.raises(ValueError, match="not checked yet"):
        _ = checking.dataset
    assert list(checking) == list(first)
    assert checking.dataset.rows == len(first)
    assert list(checking) == list(first), "and again, by a pass that checks no more"


def test_the_problems_are_told_at_the_end_those_behind_the_last_row_too(tmp_path: Path) -> None:
    rows = [{"prompt": "a"}, {"prompt": 3}, {"prompt": "b"}, {"id": "x"}]
    path = write(tmp_path / "rows.jsonl", rows)
    checking = Checking(path, task="qa", split="train", max_rows=1)
    seen = []
    with pytest.raises(DataError) as told:
        for record in checking:
            seen.append(record.messages[0].content)
    assert seen == ["a"]
    with pytest.raises(DataError) as first:
        open_dataset(path, task="qa", split="train", max_rows=1)
    assert str(told.value) == str(first.value) and "2 rows are not usable" in str(told.value)


def test_a_pass_that_was_broken_off_checks_again(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"prompt": "a"}, {"prompt": 3}])
    checking = Checking(path, task="qa", split="train")
    assert next(iter(checking)).messages[0].content == "a"
    with pytest.raises(DataError, match="not usable"):
        list(checking)


def test_what_is_asked_alike_has_one_digest() -> None:
    def record(*messages: Message, **more: object) -> Record:
        return Record("x", "qa", messages, **more)  # type: ignore[arg-type]

    plain = record(Message("user", "a"))
    assert asked_digest(plain) == asked_digest(Record("y", "nli", plain.messages, "gold"))
    others = [
        record(Message("system", "a")),
        record(Message("user", "a"), Message("user", "")),
        record(Message("user", "a", (), "call")),
        record(Message("user", "a"), tools=({"type": "function"},)),
    ]
    assert len({asked_digest(one) for one in [plain, *others]}) == 5
