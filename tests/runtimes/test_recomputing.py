"""A sequence that crosses the length where its frequencies change is begun anew."""

from collections.abc import Mapping, Sequence

import numpy as np

from mwalimu.runtimes.base import Logits
from mwalimu.runtimes.recomputing import RecomputingDecoder


class Noting:
    slots, context, vocabulary = 2, 512, 3

    def __init__(self) -> None:
        self.calls: list[object] = []

    def prefill(self, slot: int, ids: Sequence[int]) -> Logits:
        self.calls.append(("prefill", slot, list(ids)))
        return np.zeros(3, dtype=np.float32)

    def step(self, tokens: Mapping[int, int]) -> Mapping[int, Logits]:
        self.calls.append(("step", dict(tokens)))
        return {slot: np.ones(3, dtype=np.float32) for slot in tokens}

    def release(self, slot: int) -> None:
        self.calls.append(("release", slot))

    def close(self) -> None:
        self.calls.append("close")


def test_only_the_slot_that_crosses_is_begun_anew() -> None:
    inner = Noting()
    decoder = RecomputingDecoder(inner, limit=4)
    decoder.prefill(0, [5, 6, 7])
    decoder.prefill(1, [1])
    decoder.step({0: 8, 1: 2})
    inner.calls.clear()
    logits = decoder.step({0: 9, 1: 3})
    assert inner.calls == [("step", {1: 3}), ("release", 0), ("prefill", 0, [5, 6, 7, 8, 9])]
    assert set(logits) == {0, 1}
    inner.calls.clear()
    decoder.step({0: 1})
    assert inner.calls == [("step", {0: 1})]


def test_a_sequence_that_begins_beyond_never_crosses() -> None:
    inner = Noting()
    decoder = RecomputingDecoder(inner, limit=2)
    decoder.prefill(0, [1, 2, 3])
    decoder.step({0: 4})
    decoder.release(0)
    decoder.prefill(0, [1, 2])
    decoder.step({0: 3})
    assert inner.calls[-3:] == [("prefill", 0, [1, 2]), ("release", 0), ("prefill", 0, [1, 2, 3])]
