"""Models whose rotary frequencies change at a length (longrope), in any runtime.

A key that was cached before that length was turned by the first set of frequencies, and is wrong
beyond it. So the sequence that crosses it is begun anew, as transformers does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mwalimu.data.longrope import rope_limit
from mwalimu.runtimes.base import Decoder, Logits


def recomputing(decoder: Decoder, limit: int | None) -> Decoder:
    """`limit` is the last length of the first set of frequencies; None where there is one."""
    return decoder if limit is None else RecomputingDecoder(decoder, limit)


def limit_of(folder: Path) -> int | None:
    """What the `config.json` of `folder` says of it."""
    return limit_in(json.loads((folder / "config.json").read_bytes()))


def limit_in(values: Mapping[str, Any]) -> int | None:
    """What a `config.json` says of it."""
    config = SimpleNamespace(**values)
    config.get_text_config = lambda: config
    return rope_limit(SimpleNamespace(config=config))


class RecomputingDecoder:
    """Remembers what each slot has read."""

    def __init__(self, decoder: Decoder, limit: int) -> None:
        self.decoder = decoder
        self.limit = limit
        self.slots = decoder.slots
        self.context = decoder.context
        self.vocabulary = decoder.vocabulary
        self._ids: dict[int, list[int]] = {}

    def prefill(self, slot: int, ids: Sequence[int]) -> Logits:
        self._ids[slot] = list(ids)
        return self.decoder.prefill(slot, ids)

    def step(self, tokens: Mapping[int, int]) -> Mapping[int, Logits]:
        for slot, token in tokens.items():
            self._ids[slot].append(token)
        crossing = [slot for slot in tokens if len(self._ids[slot]) == self.limit + 1]
        staying = {slot: token for slot, token in tokens.items() if slot not in crossing}
        logits = dict(self.decoder.step(staying)) if staying else {}
        for slot in crossing:
            self.decoder.release(slot)
            logits[slot] = self.decoder.prefill(slot, self._ids[slot])
        return logits

    def release(self, slot: int) -> None:
        self._ids.pop(slot, None)
        self.decoder.release(slot)

    def close(self) -> None:
        self.decoder.close()
