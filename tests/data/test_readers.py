import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mwalimu.data.dataset import load_records
from mwalimu.data.record import Message, Record
from mwalimu.errors import DataError

CHAT = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "hi"},
]


def write(folder: Path, *rows: Any, name: str = "rows.jsonl") -> Path:
    path = folder / name
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def load(path: Path) -> list[Record]:
    return load_records(path, task="qa", split="train")


def test_the_four_row_forms(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"id": "a", "messages": CHAT, "task": "nli", "metadata": {"k": 1}},
        {"prompt": "p", "completion": "c"},
        {"input": "i", "output": "o", "system": "s"},
        {"prompt": "only"},
    )
    a, b, c, d = load(path)
    assert (a.id, a.task, a.reference, a.metadata) == ("a", "nli", "hi", {"k": 1})
    assert a.messages == (Message("system", "be brief"), Message("user", "hello"))
    assert (b.id, b.task, b.reference) == ("train-000002", "qa", "c")
    assert c.messages == (Message("system", "s"), Message("user", "i"))
    assert d.reference is None
    assert a.to_json() == {"id": "a", "task": "nli", "messages": CHAT, "metadata": {"k": 1}}


def test_gzip_bom_crlf_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"prompt": "a"}\r\n\r\n{"prompt": "b"}'))
    assert [record.id for record in load(path)] == ["train-000001", "train-000003"]


def test_csv_and_parquet_read_like_jsonl(tmp_path: Path) -> None:
    csv_path = tmp_path / "rows.csv"
    csv_path.write_text('id,prompt,completion\n1,"a, b",c\n2,d,\n', encoding="utf-8")
    first, second = load(csv_path)
    assert (first.id, first.messages[0].content, first.reference) == ("1", "a, b", "c")
    assert second.reference is None
    table = pa.Table.from_pylist([{"id": "x", "messages": CHAT}, {"id": "y", "messages": CHAT}])
    pq.write_table(table, tmp_path / "rows.parquet")
    assert [record.reference for record in load(tmp_path / "rows.parquet")] == ["hi", "hi"]


def test_every_bad_row_is_reported_in_one_pass(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"prompt": "good", "id": "same"},
        b'{"prompt": ',
        {"messages": CHAT[1:2] + CHAT[1:2]},
        {"messages": [{"role": "user", "content": " "}]},
        {"prompt": "again", "id": "same"},
        b'{"prompt": "\xff"}',
        b"[1]",
        {"text": "?"},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"prompt": 3},
    )
    with pytest.raises(DataError) as caught:
        load(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}: 9 rows are not usable"
    expected = [
        ":2: invalid JSON at column",
        ":3: messages[1].role: is 'user' where 'assistant' must stand",
        ":4: messages[0].content: is empty",
        ":5: id: 'same' is also the id of line 1",
        ":6: invalid UTF-8 at byte 13",
        ":7: is a JSON list",
        ":8: messages: is missing",
        ":9: messages[0].role: is 'robot'",
        ":10: prompt: is int, not a text",
    ]
    assert len(lines) == 1 + len(expected)
    for line, start in zip(lines[1:], expected, strict=True):
        assert line.startswith(f"{path}{start}") and "; " in line


def test_many_bad_rows_are_counted_not_all_shown(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"100 rows are not usable(.|\n)*\.\.\. and 80 more"):
        load(write(tmp_path, *[{"x": 1}] * 100))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("empty.jsonl", b"", "has no rows"),
        ("blank.jsonl", b"\n\n", "has no rows"),
        ("bad.jsonl.gz", b"not gzip", "cannot be read"),
        ("cut.jsonl.gz", gzip.compress(b'{"prompt": "a"}' * 99)[:40], "cannot be read"),
        ("bad.parquet", b"PAR1 no", "not a readable Parquet"),
        ("bad.csv", b"prompt\n\xff\n", "invalid UTF-8"),
        ("wide.csv", b"prompt\na,b\n", "more cells than the header"),
    ],
)
def test_a_bad_file_is_one_data_error(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=expected):
        load(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="is a folder"):
        load(tmp_path)
