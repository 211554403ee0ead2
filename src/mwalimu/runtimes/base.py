"""The contract of a runtime: token ids in, the next token's logits out.

Sampling, stop strings, log-probabilities and schemas are the same code for every runtime, because
none of them samples by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

Logits = np.ndarray[Any, np.dtype[np.float32]]
"""Float32 [vocabulary]: of one position, before any softmax, temperature or penalty."""


class Decoder(Protocol):
    """A loaded student that continues several sequences at once, each in a slot of its own.

    What a slot answers depends on its own sequence alone, up to float rounding. Not safe for
    threads: one thread at a time calls it. `vocabulary` counts the columns of the logits.
    """

    slots: int
    context: int
    vocabulary: int

    def prefill(self, slot: int, ids: Sequence[int]) -> Logits:
        """Begins a sequence in a free slot with at least one id; the logits after the last one."""
        ...

    def step(self, tokens: Mapping[int, int]) -> Mapping[int, Logits]:
        """Appends one id to each of these slots, in one forward pass where the runtime can."""
        ...

    def release(self, slot: int) -> None:
        """Ends the slot's sequence; it is free afterwards."""
        ...

    def close(self) -> None:
        """Gives the memory back; the decoder is of no use afterwards."""
        ...
