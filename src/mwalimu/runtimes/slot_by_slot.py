"""Decoders whose runtime holds a sequence's cache itself: slots are stepped one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from mwalimu.runtimes.base import Logits


class SlotBySlot(ABC):
    """Knows how many tokens each slot has read; what reads them is the runtime's."""

    def __init__(self, *, slots: int, context: int, vocabulary: int) -> None:
        self.slots = slots
        self.context = context
        self.vocabulary = vocabulary
        self._lengths: dict[int, int] = {}

    @abstractmethod
    def forward(self, slot: int, ids: Sequence[int], start: int) -> Logits:
        """Reads `ids` from position `start` on; the logits of the token after them."""

    def prefill(self, slot: int, ids: Sequence[int]) -> Logits:
        assert slot not in self._lengths and 0 <= slot < self.slots
        self._lengths[slot] = 0
        return self._read(slot, ids)

    def step(self, tokens: Mapping[int, int]) -> Mapping[int, Logits]:
        return {slot: self._read(slot, [token]) for slot, token in tokens.items()}

    def release(self, slot: int) -> None:
        self._lengths.pop(slot, None)

    def close(self) -> None:
        self._lengths.clear()

    def _read(self, slot: int, ids: Sequence[int]) -> Logits:
        start = self._lengths[slot]
        logits = self.forward(slot, ids, start)
        self._lengths[slot] = start + len(ids)
        return logits
