"""A sample of a stream whose length nobody knows beforehand."""

from __future__ import annotations

import heapq
import random
from typing import Generic, TypeVar

T = TypeVar("T")


class Reservoir(Generic[T]):
    """`size` of the items that are offered, each with the same chance; of fewer, all.

    Every item draws a lot and the best lots stay, so a larger reservoir of the same seed and
    items holds those of a smaller one too.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._random = random.Random(seed)
        self._kept: list[tuple[float, int, T]] = []  # a heap, the worst lot on top
        self._offered = 0

    def offer(self, item: T) -> None:
        lot = (-self._random.random(), self._offered, item)
        self._offered += 1
        if len(self._kept) < self.size:
            heapq.heappush(self._kept, lot)
        elif self.size and lot[0] > self._kept[0][0]:
            heapq.heapreplace(self._kept, lot)

    def items(self) -> list[T]:
        """In the order in which they were offered."""
        return [item for _, _, item in sorted(self._kept, key=lambda lot: lot[1])]
