"""A transformers model that steps all its slots in one forward pass."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from mwalimu.data.context import context_of
from mwalimu.data.loading import causal_lm_of
from mwalimu.data.longrope import rope_limit, sides
from mwalimu.runtimes.base import Logits
from mwalimu.runtimes.slot_cache import SlotCache


def can_batch(model: Any) -> bool:
    """Whether every layer keeps plain keys and values, and positions can be given by the row."""
    plain = (DynamicLayer, DynamicSlidingWindowLayer)
    layers = DynamicCache(config=model.config).layers
    positioned = "position_ids" in inspect.signature(causal_lm_of(model).forward).parameters
    return positioned and bool(layers) and all(type(layer) in plain for layer in layers)


class BatchedDecoder:
    """A prompt is read alone; its keys and values then become a row of the shared cache.

    transformers' own continuous batching is not used: it samples by itself and hands out tokens,
    where a `Decoder` hands out logits.
    """

    def __init__(self, model: Any, *, slots: int) -> None:
        self.model = model
        self.slots = slots
        self.context = context_of(model.config)
        self.vocabulary: int = model.config.get_text_config().vocab_size
        self._limit = rope_limit(model)
        self._cache: SlotCache | None = None
        self._order: list[int] = []  # the slot of each row
        self._lengths: dict[int, int] = {}

    def prefill(self, slot: int, ids: Sequence[int]) -> Logits:
        assert slot not in self._lengths and 0 <= slot < self.slots
        read = DynamicCache()
        with torch.inference_mode():
            logits_BV = self._forward([list(ids)], cache=read)
            if self._cache is None:
                self._cache = SlotCache(read, self.slots)
            self._cache.put(read, len(ids))
        self._order.append(slot)
        self._lengths[slot] = len(ids)
        first_V: Logits = logits_BV[0]
        return first_V

    def step(self, tokens: Mapping[int, int]) -> Mapping[int, Logits]:
        slots = list(tokens)
        logits: dict[int, Logits] = {}
        for group in sides([self._lengths[slot] + 1 for slot in slots], self._limit):
            logits |= self._step({slots[i]: tokens[slots[i]] for i in group})
        return logits

    def release(self, slot: int) -> None:
        if self._lengths.pop(slot, None) is None:
            return
        assert self._cache is not None
        row, last = self._order.index(slot), self._order.pop()
        if last != slot:
            self._order[row] = last
        with torch.inference_mode():
            self._cache.drop(row, self._longest())

    def close(self) -> None:
        self._cache = None
        self._order.clear()
        self._lengths.clear()
        self.model = None

    def _step(self, tokens: Mapping[int, int]) -> dict[int, Logits]:
        """All rows go through the model; one without a token sees nothing of it and stays."""
        assert self._cache is not None
        cache, order = self._cache, self._order
        lengths_B = [self._lengths[slot] for slot in order]
        with torch.inference_mode():
            cache.make_room()
            width = cache.columns.width + 1
            logits_BV = self._forward(
                [[tokens.get(slot, 0)] for slot in order],
                cache=cache,
                attention_mask=self._tensor(
                    [[0] * (width - n - 1) + [1] * (n + 1) for n in lengths_B]
                ),
                position_ids=self._tensor(
                    [[n if slot in tokens else 0] for slot, n in zip(order, lengths_B, strict=True)]
                ),
            )
            for slot in tokens:
                self._lengths[slot] += 1
            waiting = [row for row, slot in enumerate(order) if slot not in tokens]
            cache.advance(waiting, self._longest())
        return {slot: logits_BV[row] for row, slot in enumerate(order) if slot in tokens}

    def _forward(self, ids: Sequence[Sequence[int]], **options: Any) -> Logits:
        """Float32 [rows, vocabulary], after the last id of each row."""
        output = self.model(
            input_ids=self._tensor(ids), use_cache=True, logits_to_keep=1, **options
        )
        logits_BV: Logits = output.logits[:, -1].float().cpu().numpy()
        return logits_BV

    def _tensor(self, rows: Sequence[Sequence[int]]) -> Any:
        return torch.tensor(rows, device=self.model.device)

    def _longest(self) -> int:
        return max(self._lengths.values(), default=0)
