"""Round trips: what a format can hold comes back as it was, and what it cannot is told."""

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwalimu.data.formats import BY_NAME
from mwalimu.data.formats.converting import convert
from mwalimu.data.formats.source import open_source
from mwalimu.data.readers import BadRow
from mwalimu.data.record import Message, Record
from mwalimu.errors import ConfigError, DataError

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(str.strip)
CALL = {"type": "function", "function": {"name": "look", "arguments": {"at": "sky"}}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Text conversations of any length, with and without a system turn and a label."""
    turns = draw(st.lists(st.tuples(TEXT, TEXT), max_size=3))
    messages = [Message("system", draw(TEXT))] if draw(st.booleans()) else []
    for asked, said in turns:
        messages += [Message("user", asked), Message("assistant", said)]
    messages.append(Message("user", draw(TEXT)))
    label = draw(st.none() | TEXT)
    metadata = draw(
        st.dictionaries(st.text(max_size=5), st.integers(-(2**63), 2**63 - 1), max_size=2)
    )
    task = draw(st.sampled_from(["generic", "qa", "conversation"]))
    return Record(draw(TEXT), task, tuple(messages), label, metadata)


def written(folder: Path, record: Record) -> Path:
    path = folder / "in.jsonl"
    path.write_text(json.dumps(record.to_json()), encoding="utf-8")
    return path


def read_back(path: Path, name: str) -> Record | BadRow:
    ((_, record),) = open_source(path, name=name).records()
    return record


@pytest.mark.parametrize("target", [name for name, one in BY_NAME.items() if one.write])
@settings(max_examples=40, deadline=None)
@given(record=records())
def test_what_is_not_said_to_be_lost_comes_back(target: str, record: Record) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        done = convert(open_source(written(folder, record)), folder / "out.jsonl", target)
        back = read_back(folder / "out.jsonl", target)
    assert isinstance(back, Record)
    assert back.messages == record.messages
    assert back.reference == (None if "label" in done.lost else record.reference)
    assert ("id" in done.lost) or back.id == record.id
    assert ("task" in done.lost) or back.task == record.task
    assert ("metadata" in done.lost) or back.metadata == record.metadata


def with_tools() -> Record:
    messages = (
        Message("user", "wet?"),
        Message("assistant", "", (CALL,)),
        Message("tool", "rain"),
    )
    return Record("a", "generic", messages, "Yes.", tools=(TOOL,))


@pytest.mark.parametrize("target", ["mwalimu", "openai", "sharegpt"])
def test_tools_come_back(tmp_path: Path, target: str) -> None:
    convert(open_source(written(tmp_path, with_tools())), tmp_path / "out.jsonl", target)
    back = read_back(tmp_path / "out.jsonl", target)
    assert isinstance(back, Record)
    assert (back.messages, back.tools) == (with_tools().messages, with_tools().tools)


@pytest.mark.parametrize("target", ["azure", "bedrock", "alpaca"])
def test_rows_with_calls_are_left_out_and_told(tmp_path: Path, target: str) -> None:
    done = convert(open_source(written(tmp_path, with_tools())), tmp_path / "out.jsonl", target)
    assert (done.rows, done.left_out, done.lost) == (0, 1, {"calls": 1})
    assert done.in_words() == (
        f"0 rows written as {target}; which cannot hold calls (1 rows); 1 rows left out"
    )
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_a_text_beside_a_call_is_told(tmp_path: Path) -> None:
    asked, _, result = with_tools().messages
    record = Record("a", "generic", (asked, Message("assistant", "So.", (CALL,)), result))
    done = convert(open_source(written(tmp_path, record)), tmp_path / "out.jsonl", "sharegpt")
    assert done.lost == {"text beside a call": 1}


def test_a_bad_row_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "good"}\n{"prompt": ""}\n{"x"\n')
    with pytest.raises(DataError) as caught:
        convert(open_source(path), tmp_path / "out.jsonl", "openai")
    assert f"{path}:2: prompt: is empty" in str(caught.value)
    assert f"{path}:3: invalid JSON" in str(caught.value)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in.jsonl"]


def test_gzip_is_the_same_bytes_again(tmp_path: Path) -> None:
    source = open_source(written(tmp_path, Record("a", "qa", (Message("user", "x"),))))
    packed: list[Any] = []
    for name in ("one.jsonl.gz", "two.jsonl.gz"):
        convert(source, tmp_path / name, "mwalimu")
        packed.append((tmp_path / name).read_bytes())
    assert packed[0] == packed[1]
    assert json.loads(gzip.decompress(packed[0]))["id"] == "a"


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    source = open_source(written(tmp_path, with_tools()))
    with pytest.raises(ConfigError, match="log can only be read"):
        convert(source, tmp_path / "out.jsonl", "log")
    with pytest.raises(ConfigError, match="is the file that is read"):
        convert(source, source.path, "openai")
