"""Hostile and damaged files: one error of one line, whatever they claim."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from mwalimu.errors import RunError
from mwalimu.signals.tensors import MAX_HEADER, map_tensors
from tests.held import traced

GOOD = save(
    {
        "a": np.arange(6, dtype=np.uint16).reshape(2, 3),
        "b": np.ones(3, np.float16),
        "none": np.empty((0, 4), np.uint64),
        "c": np.arange(5, dtype=np.uint8),
    },
    {"mwalimu": "text"},
)


def file_of(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype: Any = "U8", shape: Any = (4,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


FOUR = b"four"
BAD = {
    "empty": b"",
    "seven bytes": b"1234567",
    "header of 2^63 bytes": file_of({}, length=2**63),
    "header longer than the file": file_of({}, length=100),
    "header over the limit": file_of(b" " * (MAX_HEADER + 1)),
    "not JSON": file_of(b"{"),
    "not UTF-8": file_of(b"\xff\xfe"),
    "a list": file_of([]),
    "nested too deep": file_of(b"[" * 60_000),
    "a number of many digits": file_of(b'{"a": ' + b"9" * 60_000 + b"}"),
    "metadata that is not text": file_of({"__metadata__": {"a": 1}}),
    "metadata that is a list": file_of({"__metadata__": []}),
    "no description": file_of({"a": 1}),
    "a type unknown": file_of(entry("F64"), FOUR),
    "a type that is a list": file_of(entry(["U8"]), FOUR),
    "a shape of 2^59": file_of(entry(shape=(2**59, 2**59)), FOUR),
    "a shape below zero": file_of(entry(shape=(-2, -2)), FOUR),
    "a shape of true": file_of(entry(shape=(True, 4)), FOUR),
    "a shape that is text": file_of(entry(shape="4"), FOUR),
    "a shape of many dimensions": file_of(entry(shape=[1] * 99 + [4]), FOUR),
    "offsets in one": file_of(entry(offsets=(4,)), FOUR),
    "offsets backwards": file_of(entry(offsets=(4, 0)), FOUR),
    "offsets beyond the end": file_of(entry(shape=(8,), offsets=(0, 8)), FOUR),
    "a gap": file_of(entry(offsets=(1, 5)), b"\0" + FOUR),
    "bytes left over": file_of(entry(), FOUR + b"!"),
    "an overlap": file_of({**entry(), "b": entry(offsets=(2, 6))["a"]}, FOUR + b"!!"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(BAD[name])

    def refused() -> None:
        with pytest.raises(RunError) as caught:
            map_tensors(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
        assert len(str(caught.value)) < len(str(path)) + 300

    _, peak = traced(refused)
    assert peak < 4_000_000


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        map_tensors(tmp_path / "none")
    with pytest.raises(RunError, match="cannot be read"):
        map_tensors(tmp_path)


def test_a_good_file_is_mapped_and_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(GOOD)
    found = map_tensors(path)
    assert found.metadata == {"mwalimu": "text"} and found.size == len(GOOD)
    assert found.arrays["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found.arrays["none"].shape == (0, 4)
    with pytest.raises(ValueError, match="read-only"):
        found.arrays["c"][0] = 1


@given(st.integers(0, len(GOOD) - 1))
@settings(max_examples=60)
def test_a_truncated_file_is_an_error(tmp_path_factory: Any, length: int) -> None:
    path = tmp_path_factory.getbasetemp() / "truncated"
    path.write_bytes(GOOD[:length])
    with pytest.raises(RunError):
        map_tensors(path)


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=9))
@settings(max_examples=300)
def test_any_bytes_are_read_or_refused_but_nothing_else(
    tmp_path_factory: Any, changes: list[tuple[int, int]]
) -> None:
    raw = bytearray(GOOD)
    for place, value in changes:
        raw[place] = value
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(raw)
    try:
        found = map_tensors(path)
    except RunError:
        return
    assert sum(array.nbytes for array in found.arrays.values()) < len(raw)
