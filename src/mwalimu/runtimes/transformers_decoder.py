"""The decoder over a transformers folder: what every other runtime is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mwalimu.data.context import context_of
from mwalimu.data.loading import CannotLoad, load_causal_lm
from mwalimu.data.longrope import rope_limit
from mwalimu.errors import StudentError
from mwalimu.runtimes.base import Decoder, Logits
from mwalimu.runtimes.recomputing import recomputing


def load(folder: Path, *, slots: int, threads: int | None) -> Decoder:
    """Steps all slots at once where the model's cache allows it. Raises StudentError."""
    import torch

    from mwalimu.runtimes.batched_decoder import BatchedDecoder, can_batch

    if threads is not None:
        torch.set_num_threads(threads)
    try:
        model, _ = load_causal_lm(str(folder))
    except CannotLoad as error:
        raise StudentError(f"cannot be loaded ({error})", where=str(folder)) from error
    batched = slots > 1 and can_batch(model)
    decoder = (BatchedDecoder if batched else TransformersDecoder)(model, slots=slots)
    return recomputing(decoder, rope_limit(model))


class TransformersDecoder:
    """A cache of the model's own kind a slot; slots are stepped one after another."""

    def __init__(self, model: Any, *, slots: int) -> None:
        self.model = model
        self.slots = slots
        self.context = context_of(model.config)
        self.vocabulary: int = model.config.get_text_config().vocab_size
        self._caches: dict[int, Any] = {}

    def prefill(self, slot: int, ids: Sequence[int]) -> Logits:
        from transformers import DynamicCache

        assert slot not in self._caches and 0 <= slot < self.slots
        self._caches[slot] = DynamicCache(config=self.model.config)
        return self._forward(slot, ids)

    def step(self, tokens: Mapping[int, int]) -> Mapping[int, Logits]:
        return {slot: self._forward(slot, [token]) for slot, token in tokens.items()}

    def release(self, slot: int) -> None:
        self._caches.pop(slot, None)

    def close(self) -> None:
        self._caches.clear()
        self.model = None

    def _forward(self, slot: int, ids: Sequence[int]) -> Logits:
        import torch

        with torch.inference_mode():
            output = self.model(
                input_ids=torch.tensor([list(ids)], device=self.model.device),
                cache=self._caches[slot],
                use_cache=True,
                logits_to_keep=1,
            )
            logits: Logits = output.logits[0, -1].float().cpu().numpy()
            return logits
