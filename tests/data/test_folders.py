"""Folders of the `datasets` library, written here as that library writes them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mwalimu.data.dataset import load_records
from mwalimu.errors import DataError

ROWS = [{"instruction": f"Say {i}.", "output": str(i), "system": None} for i in range(5)]


def save(folder: Path, *shards: list[dict[str, Any]], **state: Any) -> Path:
    """As `Dataset.save_to_disk` does: Arrow streams, and state.json naming them in order."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05d}-of-{len(shards):05d}.arrow" for i in range(len(shards))]
    for name, rows in zip(names, shards, strict=True):
        table = pa.Table.from_pylist(rows)
        with (
            pa.OSFile(str(folder / name), "wb") as sink,
            pa.ipc.new_stream(sink, table.schema) as out,
        ):
            out.write_table(table)
    listed = {"_data_files": [{"filename": name} for name in names]} | state
    (folder / "state.json").write_text(json.dumps(listed))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def answers(path: Path) -> list[str | None]:
    return [record.reference for record in load_records(path, task="qa", split="train")]


def test_what_save_to_disk_wrote(tmp_path: Path) -> None:
    folder = save(tmp_path / "data", ROWS[:2], ROWS[2:])
    assert answers(folder) == ["0", "1", "2", "3", "4"]
    records = load_records(folder, task="qa", split="train")
    assert [record.id for record in records] == [f"train-{i:06d}" for i in range(1, 6)]


def test_parquet_files_of_one_split(tmp_path: Path) -> None:
    for i, rows in enumerate((ROWS[:2], ROWS[2:])):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"train-0000{i}-of-00002.parquet")
    assert answers(tmp_path) == ["0", "1", "2", "3", "4"]
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "test-00000-of-00001.parquet")
    with pytest.raises(DataError, match=r"holds the files of test, train; name one"):
        answers(tmp_path)


def test_conversations_lose_the_nulls_that_arrow_gives_them(tmp_path: Path) -> None:
    turns = [
        {"from": "human", "value": "a b", "weight": None},
        {"from": "gpt", "value": "c", "weight": 1},
    ]
    (record,) = load_records(save(tmp_path / "d", [{"conversations": turns}]), task="qa", split="t")
    assert record.reference == "c"


def test_a_sequence_of_objects_is_stored_as_an_object_of_lists(tmp_path: Path) -> None:
    turns = {"from": ["human", "gpt"], "value": ["a b", "c"]}
    (record,) = load_records(save(tmp_path / "d", [{"conversations": turns}]), task="qa", split="t")
    assert (record.messages[0].content, record.reference) == ("a b", "c")


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"_data_files": [{"filename": "../x.arrow"}]}, "names files outside its folder"),
        ({"_data_files": 3}, "is damaged"),
        ({"_indices_data_files": [{"filename": "i.arrow"}]}, "flatten_indices"),
        ({"_data_files": [{"filename": "gone.arrow"}]}, "is not a readable Arrow file"),
    ],
)
def test_folders_that_cannot_be_read(tmp_path: Path, state: Any, problem: str) -> None:
    folder = save(tmp_path / "data", ROWS, **state)
    with pytest.raises(DataError, match=problem):
        answers(folder)


def test_splits_and_other_folders(tmp_path: Path) -> None:
    save(tmp_path / "all" / "train", ROWS)
    save(tmp_path / "all" / "test", ROWS)
    with pytest.raises(DataError, match=r"holds the splits test, train; name the folder of one"):
        answers(tmp_path / "all")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is a folder without a data set"):
        answers(tmp_path / "empty")
