"""Keys and values of several sequences, in the memory that ONNX Runtime reads and writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class Cache:
    """A row a sequence: each tensor is [rows, heads, capacity, head size].

    `shapes` maps a tensor's name to its (heads, head size). The capacity doubles where it does not
    suffice, so memory follows the longest sequence so far, not the context.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, int]], dtype: Any, *, rows: int, capacity: int
    ) -> None:
        self.capacity = capacity
        self.tensors: dict[str, Array] = {
            name: np.zeros((rows, heads, capacity, size), dtype)
            for name, (heads, size) in shapes.items()
        }

    def grow(self, length: int, *, limit: int) -> bool:
        """Makes room for sequences of `length` ids; whether the tensors moved for it."""
        if length <= self.capacity:
            return False
        before, self.capacity = self.capacity, min(limit, max(length, 2 * self.capacity))
        for name, old in self.tensors.items():
            rows, heads, _, size = old.shape
            self.tensors[name] = np.zeros((rows, heads, self.capacity, size), old.dtype)
            self.tensors[name][:, :, :before] = old
        return True

    def copy(self, row: int, *, to: int, length: int) -> None:
        """Copies a row's first `length` positions over another row's."""
        for tensor in self.tensors.values():
            tensor[to, :, :length] = tensor[row, :, :length]
