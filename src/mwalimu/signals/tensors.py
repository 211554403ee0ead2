"""A safetensors file, mapped: 8 bytes of header length, a JSON header, the arrays end to end.

Nothing the file says is believed before it is held against the file's size, so that a damaged or
hostile one is an error of one line, never a crash or a large allocation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from mwalimu.errors import RunError, explained
from mwalimu.signals.signal import Array

MAX_HEADER = 1 << 16  # ours have at most a kilobyte
DTYPES = {
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "F16": "<f2",
    "U32": "<u4",
    "F32": "<f4",
    "U64": "<u8",
}


@dataclass(frozen=True, slots=True)
class Tensors:
    """`arrays` are read-only views of the mapped file; `metadata` is text."""

    arrays: dict[str, Array]
    metadata: dict[str, str]
    size: int


def damaged(path: Path, what: str) -> RunError:
    return RunError(
        f"is damaged: {what}", where=str(path), fix="capture again: shards that are whole are kept"
    )


def map_tensors(path: Path) -> Tensors:
    """Maps a file; no array is read.

    Raises:
        RunError: it is not there, or not a whole safetensors file.
    """
    try:
        size = path.stat().st_size
        bytes_mapped = np.memmap(path, np.uint8, mode="r") if size else np.empty(0, np.uint8)
    except (OSError, ValueError) as error:
        raise explained(error, str(path)) or RunError(
            f"cannot be read ({error})", where=str(path)
        ) from None
    mapped = bytes_mapped.view(np.ndarray)  # slices of a plain array are cheaper
    try:
        header, data = _header(mapped)
        metadata = header.pop("__metadata__", {})
        if not _is_text(metadata):
            raise ValueError("its metadata is not text")
        return Tensors(_arrays(header, data), metadata, len(mapped))
    except (ValueError, RecursionError) as error:
        raise damaged(path, str(error)) from None


def _header(mapped: Array) -> tuple[dict[str, Any], Array]:
    """The parsed header and the bytes behind it."""
    if len(mapped) < 8:
        raise ValueError("it is shorter than a header")
    length = int.from_bytes(mapped[:8].tobytes(), "little")
    if length > min(MAX_HEADER, len(mapped) - 8):
        raise ValueError(f"its header says that it has {length} bytes")
    try:
        header = json.loads(mapped[8 : 8 + length].tobytes())
    except (ValueError, RecursionError):
        raise ValueError("its header is not JSON") from None
    if not isinstance(header, dict):
        raise ValueError("its header is not an object")
    return header, mapped[8 + length :]


def _arrays(header: Mapping[str, Any], data: Array) -> dict[str, Array]:
    """Views of `data`, which they have to cover without gap, overlap or rest."""
    spans = {name: _span(name, entry) for name, entry in header.items()}
    end = 0
    for name, (start, stop, _, _) in sorted(spans.items(), key=lambda item: item[1][:2]):
        if start != end:
            raise ValueError(f"array {name} does not start where the one before it ends")
        end = stop
    if end != len(data):
        raise ValueError(f"it has {len(data)} bytes of arrays, its header says {end}")
    return {
        name: data[start:stop].view(dtype).reshape(shape)
        for name, (start, stop, dtype, shape) in spans.items()
    }


def _span(name: str, entry: Any) -> tuple[int, int, str, tuple[int, ...]]:
    """Start, stop, type and shape of an array, which agree with each other."""
    if not isinstance(entry, dict):
        raise ValueError(f"array {name} has no description")
    dtype = DTYPES.get(str(entry.get("dtype")))
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if dtype is None or not _is_sizes(shape) or not _is_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"array {name} has no type, shape or place")
    start, stop = offsets
    if stop - start != math.prod(shape) * np.dtype(dtype).itemsize:
        raise ValueError(f"the shape and the place of array {name} disagree")
    return start, stop, dtype, tuple(shape)


def _is_sizes(value: Any) -> TypeGuard[list[int]]:
    """A short list of whole numbers that an array can have as sizes or places."""
    return (
        isinstance(value, list)
        and len(value) <= 8
        and all(type(number) is int and 0 <= number < 1 << 60 for number in value)
    )


def _is_text(value: Any) -> TypeGuard[dict[str, str]]:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
