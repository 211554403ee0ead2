"""Whether a model may be given packed rows: found by giving it some.

Shapes: B rows, T tokens of a row, P places of a line, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from mwalimu.data.layout import Layout, Line
from mwalimu.objectives.attention_functions import observed
from mwalimu.objectives.packing import Packing, own_attention

LENGTHS = [5, 3, 7, 7]
TOLERANCE = 0.02
"""Two roundings of bfloat16 apart; a position mixed up is off by far more."""
NOTHING = 1e-6
"""Of the largest logit: what a row may change when another row's tokens do."""

KNOWN_LAYERS = {"full_attention", "sliding_attention"}
FUNCTIONS = ("sdpa", "eager")
# What a model may raise that stands no packing: an unknown argument, a shape, a missing function.
_FAILS = (AttributeError, TypeError, IndexError, KeyError, ValueError, RuntimeError)

Logits = Callable[[torch.Tensor, torch.Tensor, dict[str, Any]], torch.Tensor]
"""[N, V] of ids, at flat positions, with more arguments for the model."""


class Unpacked(Exception):
    """Why a model's rows are to be padded."""


@torch.no_grad()
def find_packing(causal: Any, packings: Sequence[Packing], logits: Logits) -> Packing:
    """The first of `packings` that is right for the model, which is prepared for it then.

    Raises:
        Unpacked: there is none; the model is as it was.
    """
    config = causal.config.get_text_config()
    _refuse_unknown_layers(config)
    before, why = config._attn_implementation, ""
    for packing in packings:
        packing.prepare(config)
        try:
            _try(causal, packing, logits)
        except (Unpacked, *_FAILS) as error:
            config._attn_implementation = before
            why = (str(error).splitlines() or [type(error).__name__])[0]
        else:
            return packing
    raise Unpacked(f"{type(causal).__name__} takes no packed rows: {why}")


def _refuse_unknown_layers(config: Any) -> None:
    """What a trial on a few tokens would not bring to light."""
    if own_attention(config) not in FUNCTIONS:
        raise Unpacked(f"its attention is {own_attention(config)}")
    unknown = set(getattr(config, "layer_types", None) or ()) - KNOWN_LAYERS
    if getattr(config, "attention_chunk_size", None):
        unknown.add("chunked_attention")
    if unknown:
        raise Unpacked(f"it has layers of {min(unknown)}")


def _try(causal: Any, packing: Packing, logits: Logits) -> None:
    """Raises Unpacked if rows are not what they are alone, or know of each other."""
    config, device = causal.config.get_text_config(), causal.device
    rows = causal.get_input_embeddings().weight.shape[0]
    ids_P = torch.arange(1, 1 + sum(LENGTHS), device=device).remainder(rows)
    windows: set[int | None] = set()

    def see(call: Any) -> None:
        windows.add(call.options.get("sliding_window"))

    with observed(config._attn_implementation, see):
        packed = _in_a_line(ids_P, packing, logits)
    alone = [_alone(ids_T, logits) for ids_T in torch.split(ids_P, LENGTHS)]
    largest = max(float(row_TV.abs().max()) for row_TV in alone)
    for row_TV, alone_TV in zip(packed, alone, strict=True):
        if not _close(row_TV, alone_TV, TOLERANCE * largest):
            raise Unpacked("packed rows are not what they are alone")
    if _window_of(config) not in {None, *windows}:
        raise Unpacked("its attention is not told of its sliding window")
    changed_P = ids_P.clone()
    changed_P[: LENGTHS[0]] = ids_P[-1]
    changed = _in_a_line(changed_P, packing, logits)
    for row_TV, changed_TV in zip(packed[1:], changed[1:], strict=True):
        if not _close(row_TV, changed_TV, NOTHING * largest):
            raise Unpacked("packed rows see each other")


def _in_a_line(ids_P: torch.Tensor, packing: Packing, logits: Logits) -> tuple[torch.Tensor, ...]:
    """[T, V] of each row."""
    line = Line(slack=0)
    for length in LENGTHS:
        line.take(length)
    layout = Layout.of(line.blocks, ids_P.device)
    places_P = torch.arange(len(ids_P), device=ids_P.device)
    packed_PV = logits(ids_P[None], places_P, packing.inputs(layout))
    return torch.split(packed_PV, LENGTHS)


def _alone(ids_T: torch.Tensor, logits: Logits) -> torch.Tensor:
    return logits(ids_T[None], torch.arange(len(ids_T), device=ids_T.device), {})


def _close(left_TV: torch.Tensor, right_TV: torch.Tensor, most: float) -> bool:
    """NaN is: it is the loss's to report, by name."""
    return not (left_TV - right_TV).abs().max() > most


def _window_of(config: Any) -> int | None:
    if getattr(config, "use_sliding_window", True):
        return getattr(config, "sliding_window", None)
    return None
