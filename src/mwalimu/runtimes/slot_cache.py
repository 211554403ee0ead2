"""The keys and values of several sequences side by side, their last tokens in one column.

A row is a sequence. All rows end in the same column and are padded on the left, as in transformers'
own batched generation, so that its masks hold for every kind of attention.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

HEADROOM = 64


@dataclass(slots=True)
class Columns:
    """Rows 0 to `rows` are in use; what they hold lies in the columns from `start` to `end`."""

    rows: int = 0
    start: int = 0
    end: int = 0

    @property
    def width(self) -> int:
        return self.end - self.start


class SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """Of one layer of the model; `keys` and `values` are [slots, heads, columns, head size]."""

    is_sliding = False
    is_croppable = False

    def __init__(self, columns: Columns, like: CacheLayerMixin, slots: int) -> None:
        super().__init__()
        self.columns = columns
        self.keys = _empty(like.keys, slots, 0)
        self.values = _empty(like.values, slots, 0)
        self.is_initialized = True

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        """Nothing is left to do."""

    def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Puts the states [rows, heads, 1, head size] into the column at the end."""
        at = self.columns
        self.keys[: at.rows, :, at.end] = key_states[:, :, 0]
        self.values[: at.rows, :, at.end] = value_states[:, :, 0]
        seen = (slice(at.rows), slice(None), slice(at.start, at.end + 1))
        return self.keys[seen], self.values[seen]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.columns.width + query_length, 0

    def get_seq_length(self) -> int:
        return self.columns.width

    def get_max_length(self) -> int:
        return -1


class SlotCache(Cache):  # type: ignore[misc]
    """Grows with what is in use and shrinks again; at most 1.5 times that, plus HEADROOM columns.

    `like` is the cache of one sequence that this model has read.
    """

    def __init__(self, like: DynamicCache, slots: int) -> None:
        self.columns = Columns()
        self.slots = slots
        super().__init__(layers=[SlotLayer(self.columns, layer, slots) for layer in like.layers])

    def put(self, read: DynamicCache, length: int) -> None:
        """A new row at the bottom: the `length` tokens that `read` holds."""
        at = self.columns
        if length > at.end:
            self._move(max(at.width, length))
        for layer, one in zip(self.layers, read.layers, strict=True):
            layer.keys[at.rows, :, at.end - length : at.end] = one.keys[0]
            layer.values[at.rows, :, at.end - length : at.end] = one.values[0]
        at.rows += 1
        at.start = min(at.start, at.end - length)

    def drop(self, row: int, longest: int) -> None:
        """The last row takes the place of `row`; the rows that stay hold at most `longest`."""
        at = self.columns
        at.rows -= 1
        for layer in self.layers:
            layer.keys[row] = layer.keys[at.rows]
            layer.values[row] = layer.values[at.rows]
        at.start = at.end - longest

    def make_room(self) -> None:
        """For the column that the next forward pass fills."""
        if self.columns.end == self.layers[0].keys.shape[2]:
            self._move(self.columns.width)

    def advance(self, waiting: Collection[int], longest: int) -> None:
        """After a forward pass: rows that did not take part in it move along instead."""
        at = self.columns
        for layer in self.layers if waiting else ():
            for states in (layer.keys, layer.values):
                for row in waiting:
                    moved = states[row, :, at.start : at.end].clone()
                    states[row, :, at.start + 1 : at.end + 1] = moved
        at.end += 1
        at.start = at.end - longest

    def _move(self, end: int) -> None:
        """What is in use, so that it ends in the column `end` of new arrays."""
        at = self.columns
        columns = end + max(HEADROOM, end // 2)
        for layer in self.layers:
            layer.keys = self._moved(layer.keys, end, columns)
            layer.values = self._moved(layer.values, end, columns)
        at.start, at.end = end - at.width, end

    def _moved(self, states: Any, end: int, columns: int) -> Any:
        at = self.columns
        moved = _empty(states, self.slots, columns)
        moved[: at.rows, :, end - at.width : end] = states[: at.rows, :, at.start : at.end]
        return moved


def _empty(like: Any, slots: int, columns: int) -> Any:
    """Zeros: whatever a mask hides must be finite all the same."""
    _, heads, _, size = like.shape
    return torch.zeros(slots, heads, columns, size, dtype=like.dtype, device=like.device)
