"""One file of rows: their keys, where their tokens and entries lie, and the encoding's arrays.

Shapes: R rows, n tokens of a row.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from mwalimu.signals.encoding import Encoding, Field
from mwalimu.signals.signal import Array, Signal
from mwalimu.signals.tensors import Tensors, damaged, map_tensors

KEY_BYTES = 16
METADATA = "mwalimu"
ROW_FIELDS = {"keys": "u1", "token_offsets": "<u8", "entry_offsets": "<u8", "crc": "<u4"}
Row = tuple[bytes, int, Signal]
"""Key, CRC-32 of the completion's ids, and what the teacher said of them."""


def shard_name(index: int) -> str:
    return f"shard-{index:05d}.safetensors"


def shard_bytes(encoding: Encoding, rows: Sequence[Row], facts: dict[str, Any]) -> bytes:
    """The file of these rows: the same bytes for the same rows and facts."""
    signals = [signal for _, _, signal in rows]
    packed = encoding.pack(signals)
    tokens_O = np.cumsum([0, *(_tokens(encoding, signal) for signal in signals)], dtype="<u8")
    sizes_N = packed.get("sizes", np.zeros(int(tokens_O[-1]), "u1"))
    entries_before = np.cumsum(np.append(0, sizes_N), dtype="<u8")
    arrays = {
        "keys": np.frombuffer(b"".join(key for key, _, _ in rows), "u1").reshape(-1, KEY_BYTES),
        "token_offsets": tokens_O,
        "entry_offsets": entries_before[tokens_O.astype(np.int64)],
        "crc": np.array([crc for _, crc, _ in rows], "<u4"),
        **packed,
    }
    # One text, since safetensors writes several in an order of its own that changes.
    text = json.dumps({**facts, "crc32": _crc32(arrays)}, sort_keys=True)
    return save(arrays, {METADATA: text})


def _tokens(encoding: Encoding, signal: Signal) -> int:
    """Of one row: the length of any of its arrays that is by token."""
    name = next(field.name for field in encoding.fields() if field.per == "token")
    return len(getattr(signal, name))


def _crc32(arrays: dict[str, Array]) -> int:
    """Of the bytes of all arrays, by name."""
    crc = 0
    for name in sorted(arrays):
        crc = zlib.crc32(np.ascontiguousarray(arrays[name]).data, crc)
    return crc


class Shard:
    """A mapped shard whose arrays fit each other; what they hold is not looked at here."""

    def __init__(self, path: Path, encoding: Encoding) -> None:
        self.path = path
        self.tensors: Tensors = map_tensors(path)
        arrays = self.tensors.arrays
        fields = encoding.fields()
        try:
            if set(arrays) != {*ROW_FIELDS, *(field.name for field in fields)}:
                raise ValueError(f"it has the arrays {', '.join(sorted(arrays))}")
            self._check_rows(arrays)
            for field in fields:
                self._check(arrays[field.name], field)
        except ValueError as error:
            raise damaged(path, str(error)) from None
        self.arrays = arrays

    def _check_rows(self, arrays: dict[str, Array]) -> None:
        self.rows = len(arrays["keys"])
        for name, dtype in ROW_FIELDS.items():
            shape = {"keys": (self.rows, KEY_BYTES), "crc": (self.rows,)}.get(name)
            if arrays[name].dtype != dtype or arrays[name].shape != (shape or (self.rows + 1,)):
                raise ValueError(f"array {name} has another type or shape")
        for name in ("token_offsets", "entry_offsets"):
            offsets = arrays[name]
            if offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any():
                raise ValueError(f"array {name} does not rise from 0")
        self.tokens = int(arrays["token_offsets"][-1])
        self.entries = int(arrays["entry_offsets"][-1])

    def _check(self, array: Array, field: Field) -> None:
        length = self.tokens if field.per == "token" else self.entries
        if array.dtype != field.dtype or array.shape != (length, *field.width):
            raise ValueError(f"array {field.name} has another type or shape")

    @property
    def keys(self) -> Array:
        """(R,) of 16 bytes each, which numpy can sort and search."""
        keys_R: Array = self.arrays["keys"].view(f"S{KEY_BYTES}").reshape(self.rows)
        return keys_R

    def noted(self) -> dict[str, Any]:
        """What the writer noted, believed: {} if that cannot be read."""
        try:
            noted = json.loads(self.tensors.metadata.get(METADATA, ""))
        except (ValueError, RecursionError):
            return {}
        return noted if isinstance(noted, dict) else {}

    def facts(self) -> dict[str, Any]:
        """What the writer noted, if every array still has the bytes that it wrote; else {}."""
        facts = self.noted()
        return facts if facts.pop("crc32", None) == _crc32(self.arrays) else {}

    def length(self, row: int) -> int:
        """Tokens of a row."""
        start, stop = self.arrays["token_offsets"][row : row + 2]
        return int(stop) - int(start)

    def spans(self, row: int, tokens: int) -> dict[str, slice]:
        """Where the first `tokens` tokens of a row, and their entries, lie.

        Raises:
            ValueError: the row's entries are not as many as its tokens have.
        """
        start = int(self.arrays["token_offsets"][row])
        first, last = (int(offset) for offset in self.arrays["entry_offsets"][row : row + 2])
        if "sizes" in self.arrays:
            sizes = self.arrays["sizes"][start : start + tokens]
            stop = first + int(sizes.sum(dtype=np.int64))
            if stop > last or (stop < last and tokens == self.length(row)):
                raise ValueError("a row has other entries than its tokens say")
            last = stop
        return {"token": slice(start, start + tokens), "entry": slice(first, last)}


Cut = tuple[Shard, int, int]
"""The first n tokens of a row of a shard."""


def gathered(fields: Sequence[Field], cuts: Sequence[Cut]) -> dict[str, Array]:
    """Copies of the fields' arrays for these tokens, row by row. Raises ValueError as `spans`."""
    parts: dict[str, list[Array]] = {field.name: [field.empty()] for field in fields}
    for shard, row, tokens in cuts:
        spans = shard.spans(row, tokens)
        for field in fields:
            parts[field.name].append(shard.arrays[field.name][spans[field.per]])
    return {field.name: np.concatenate(parts[field.name], dtype=field.out) for field in fields}
