"""Taps on attention: queries and keys of chosen layers, while the model runs the kernel it has.

The models of transformers ask its table of attention functions for theirs at every call. While a
tap is open, the entry in use is replaced by one that calls it and hands on what went in. The
model's config, its masks and its arithmetic stay as they were.

Shapes: B rows, T tokens, N chosen positions, A heads, G key heads, D of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from mwalimu.data.loading import causal_lm_of
from mwalimu.errors import ConfigError
from mwalimu.objectives.attention import Attention, Chunk, ChunkReader
from mwalimu.objectives.attention_functions import Call, observed
from mwalimu.objectives.layers import decoder_layers, require_gradient, rows_at

TOLERANCE = 0.02
"""Two roundings of bfloat16 apart; another formula is off by far more."""

FIX = "choose other layers or leave out attention transfer"


class AttentionTap:
    """Collects the `Attention` of chosen layers at chosen positions while the model runs.

    Raises:
        ConfigError: a layer's attention does not go through the table, or is another formula than
            `Attention`'s (attention sinks, a position bias); found by trying it on two short rows.
    """

    def __init__(self, model: Any, layers: Sequence[int]) -> None:
        self.model = model
        self._causal = causal_lm_of(model)
        self._layers = tuple(layers)
        listed = decoder_layers(model)
        self._layer_of = {id(m): layer for layer in layers for m in listed[layer].modules()}
        self._try()

    @contextmanager
    def at(self, positions_N: torch.Tensor) -> Iterator[dict[int, Attention]]:
        """Inside, run the model once; then the dict has the `Attention` by layer.

        `positions_N` index the flattened (B*T) positions; they are the queries. Only the first
        pass counts: the second one of gradient checkpointing changes nothing.
        """
        taken: dict[int, Attention] = {}
        with_gradient = torch.is_grad_enabled()

        def take(layer: int, call: Call) -> None:
            if layer not in taken:
                require_gradient(with_gradient)
                taken[layer] = _attention(call, positions_N)

        with self._calls(take):
            yield taken
        missing = set(self._layers) - taken.keys()
        if missing:
            raise self._unreadable(min(missing), "does not go through transformers' own functions")

    @contextmanager
    def _calls(self, take: Callable[[int, Call], object]) -> Iterator[None]:
        def see(call: Call) -> None:
            layer = self._layer_of.get(id(call.module))
            if layer is not None:
                take(layer, call)

        with observed(self._causal.config.get_text_config()._attn_implementation, see):
            yield

    @torch.no_grad()
    def _try(self) -> None:
        """Compares softmax(scores) @ value with what the layer's function returned."""
        device = self.model.device
        rows = self._causal.get_input_embeddings().weight.shape[0]
        ids_BT = torch.arange(1, 17, device=device).remainder(rows).view(2, 8)
        calls: dict[int, Call] = {}
        was_training = self.model.training
        self.model.eval()
        try:
            with self._calls(calls.setdefault):
                self._causal(input_ids=ids_BT, use_cache=False)
        finally:
            self.model.train(was_training)
        for layer in self._layers:
            if layer not in calls:
                raise self._unreadable(layer, "does not go through transformers' own functions")
            if not _is_plain(calls[layer]):
                raise self._unreadable(layer, "is not a plain softmax over keys")

    def _unreadable(self, layer: int, why: str) -> ConfigError:
        name = type(self._causal).__name__
        return ConfigError(f"the attention of layer {layer} of {name} {why}", fix=FIX)


def _attention(call: Call, positions_N: torch.Tensor) -> Attention:
    """Queries cut to the positions; keys whole, since every later token looks at them."""
    size = call.query_BATD.shape[-1]
    scaling, window = call.options.get("scaling"), call.options.get("sliding_window")
    return Attention(
        rows_at(call.query_BATD.transpose(1, 2), positions_N),
        call.key_BGTD,
        size**-0.5 if scaling is None else float(scaling),
        call.options.get("softcap"),
        window,
        _allowed(call, positions_N),
    )


def _allowed(call: Call, positions_N: torch.Tensor) -> torch.Tensor | None:
    """[N, T] out of the mask that the layer was given, or None if it had none: then causal.

    A byte a (query, key), of which the mask itself has more: every query, not only N.
    """
    mask = call.mask
    if mask is None:
        return None
    rows, tokens = call.key_BGTD.shape[0], call.key_BGTD.shape[2]
    if not isinstance(mask, torch.Tensor) or mask.ndim != 4 or mask.shape[1] != 1:
        raise ConfigError("the model's attention mask is of an unknown kind", fix=FIX)
    mask_BTT = mask[:, 0, :, :tokens].expand(rows, -1, -1)
    positions_N = positions_N.to(mask.device)
    mask_NT = mask_BTT[positions_N // tokens, positions_N % tokens]
    if mask_NT.dtype == torch.bool:
        return mask_NT
    return mask_NT > torch.finfo(mask_NT.dtype).min / 2


def _is_plain(call: Call) -> bool:
    """Whether `Attention` says what the function did; dropout is off."""
    rows, heads, tokens, _ = call.query_BATD.shape
    positions_N = torch.arange(rows * tokens, device=call.query_BATD.device)
    reader = ChunkReader(_attention(call, positions_N), positions_N)
    for row in range(rows):
        chunk = Chunk(slice(row * tokens, (row + 1) * tokens), row, tokens)
        map_ATT = reader.scores(chunk, reader.allowed(chunk)).score_ACT.softmax(-1)
        value_ATD = call.value_BGTD[row].repeat_interleave(heads // reader.groups, 0)
        ours_TAD = (map_ATT @ value_ATD.to(map_ATT.dtype)).transpose(0, 1)
        theirs_TAD = call.output_BTAD[row].to(map_ATT.dtype)
        if ours_TAD.shape != theirs_TAD.shape:
            return False
        if not (ours_TAD - theirs_TAD).abs().max() <= TOLERANCE * theirs_TAD.abs().max():
            return False
    return True
