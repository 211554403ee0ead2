"""Sets of several files: their order, their numbers and places, and which files are one set.

Folders of the `datasets` library are written here as that library writes them.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwalimu.data.dataset import load_records, open_dataset
from mwalimu.data.shards import Shards, rows_hash
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
        ({"_data_files": [{"filename": "gone.arrow"}]}, "gone.arrow: no such file"),
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


def part(folder: Path, name: str, *prompts: str) -> Path:
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts).encode()
    (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return folder


def prompts(path: Path) -> list[str]:
    found = load_records(path, task="qa", split="train")
    return [record.messages[0].content for record in found]


def test_files_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("part-10.jsonl", "part-2.jsonl.gz", "part-1.jsonl"):
        part(tmp_path, name, name[5:7])
    pq.write_table(pa.table({"prompt": ["11"]}), tmp_path / "part-11.parquet")
    (tmp_path / "README.md").write_text("no rows")
    part(tmp_path, ".part-3.jsonl.tmp", "unfinished")
    names = ["1.", "2.", "10", "11"]
    assert prompts(tmp_path) == prompts(tmp_path / "part-*") == names
    assert prompts(tmp_path / "part-1?.*") == ["10", "11"]
    assert [file.name for file in Shards(tmp_path).files][:2] == ["part-1.jsonl", "part-2.jsonl.gz"]


@given(st.permutations([f"{text}{number}" for text in ("a-", "b.") for number in (0, 2, 10, 100)]))
def test_the_order_does_not_depend_on_the_file_system(names: list[str]) -> None:
    from mwalimu.data.shards import _natural

    found = [path.name for path in sorted(map(Path, names), key=_natural)]
    assert found == ["a-0", "a-2", "a-10", "a-100", "b.0", "b.2", "b.10", "b.100"]


def test_rows_are_numbered_on_and_each_has_the_place_of_its_file(tmp_path: Path) -> None:
    part(tmp_path, "part-1.jsonl", "a", "b")
    part(tmp_path, "part-2.jsonl")
    (tmp_path / "part-3.jsonl").write_text('\n{"prompt": "c"}\n\n')
    part(tmp_path, "part-4.jsonl", "d", "e")
    data = open_dataset(tmp_path, task="qa", split="train")
    found = {number: record.messages[0].content for number, record in data.numbered()}
    assert found == {1: "a", 2: "b", 4: "c", 5: "d", 6: "e"}
    assert [record.id for record in data][-1] == "train-000006"
    places = {2: "part-1.jsonl:2", 4: "part-3.jsonl:2", 5: "part-4.jsonl:1", 6: "part-4.jsonl:2"}
    next(data.numbered())  # a pass that ends early forgets no place
    for number, place in places.items():
        assert data.shards.place(number) == f"{tmp_path}/{place}"
        assert data.shards.spoken(number) == place


def test_every_bad_row_of_all_files_is_in_one_error(tmp_path: Path) -> None:
    part(tmp_path, "part-1.jsonl", "a", "")
    (tmp_path / "part-2.jsonl").write_text('{"prompt": "x", "id": "train-000001"}\n[1]\n')
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path, task="qa", split="train")
    head, *lines = str(caught.value).splitlines()
    assert head == f"{tmp_path}: 3 rows are not usable"
    assert lines[0].startswith(f"{tmp_path}/part-1.jsonl:2: prompt: is empty")
    assert "'train-000001' is also the id of part-1.jsonl:1" in lines[1]
    assert lines[2].startswith(f"{tmp_path}/part-2.jsonl:2: is a JSON list")


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("train.jsonl", "test.jsonl"), r"holds the files of test, train; .*a pattern as d/test\*"),
        (("v1.jsonl", "v2.jsonl"), "holds the files of v1, v2"),
        (("train-0.parquet", "test-0.parquet"), "holds the files of test, train"),
    ],
)
def test_files_of_several_sets_are_not_read_as_one(
    tmp_path: Path, names: tuple[str, ...], problem: str
) -> None:
    for name in names:
        part(tmp_path / "d", name, "a")
    with pytest.raises(DataError, match=problem):
        prompts(tmp_path / "d")


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00002-ab12.jsonl", "train-00001-of-00002-cd34.jsonl"),
        ("part-00000-3f2a1b9c-77-c000.jsonl", "part-00001-3f2a1b9c-77-c000.jsonl"),
        ("000.jsonl", "001.jsonl"),
        ("qa2024.1.jsonl", "qa2024.2.jsonl"),
    ],
)
def test_files_that_differ_by_their_number_are_one_set(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    for name in names:
        part(tmp_path, name, name)
    assert prompts(tmp_path) == list(names)


def test_a_pattern_is_one_only_where_no_file_is_called_so(tmp_path: Path) -> None:
    folder = part(tmp_path / "a[1]", "x*.jsonl", "star")
    part(folder, "xy.jsonl", "y")
    assert prompts(folder / "x*.jsonl") == ["star"]
    assert prompts(folder / "x[*y].jsonl") == ["star", "y"]
    with pytest.raises(DataError, match=r"z\*: fits no file; check the pattern"):
        prompts(folder / "z*")


def test_the_hash_is_of_the_content_in_its_order(tmp_path: Path) -> None:
    one = part(tmp_path / "one", "p-1.jsonl", "a")
    part(one, "p-2.jsonl", "b")
    renamed = part(part(tmp_path / "two", "q-1.jsonl", "a"), "q-2.jsonl", "b")
    turned = part(part(tmp_path / "three", "p-1.jsonl", "b"), "p-2.jsonl", "a")
    assert rows_hash(one) == rows_hash(renamed) == rows_hash(one / "p-*") != rows_hash(turned)
    assert rows_hash(one / "p-1.jsonl") == rows_hash(turned / "p-2.jsonl")
    assert rows_hash(None) is rows_hash(tmp_path / "none") is rows_hash(tmp_path / "z*") is None
