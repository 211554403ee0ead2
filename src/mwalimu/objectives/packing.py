"""Attention of rows that lie in a line (see `data.layout`): each row sees itself alone.

The models of transformers ask a table of attention functions for theirs, by a name in their config,
and hand it the keyword arguments that they were called with. A model that is `prepared` asks for an
entry of ours. Called with a layout, that one attends row by row:

- `VARLEN`: one kernel for all rows, told where each begins (FlashAttention as torch ships it, for
  16-bit numbers on CUDA). No padding at all.
- `BLOCKS`: the model's own function, once a block of rows of about one length. Any device, any
  function; where a window is narrower than the block, a mask of one row's size, shared by all.

Called without one, as in generation, it is the function that it stands for, masks and all.

Shapes: B rows, T places, A heads, G key heads, D of a head, P places in all, W of a block's width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from mwalimu.data.layout import Layout
from mwalimu.objectives.attention_functions import function_of

VARLEN_HEAD_SIZE = 192
"""Beyond it some cards have no backward pass."""

OTHER_FORMULAS = ("softcap", "s_aux", "position_bias")
"""Options of attention functions that the kernel for varying lengths does not know."""

BLOCK_SLACK = 16
"""Places of padding that cost no more than one more call of an attention function."""


_STANDS_FOR: dict[str, str] = {}


def own_attention(config: Any) -> str:
    """The name of the attention function that a model has, or had before it was prepared."""
    name: str = config._attn_implementation
    return _STANDS_FOR.get(name, name)


class Asked(NamedTuple):
    """One call of an attention function, named `base` before ours stood in its place."""

    base: str
    module: torch.nn.Module
    query_BATD: torch.Tensor
    key_BGTD: torch.Tensor
    value_BGTD: torch.Tensor
    options: dict[str, Any]

    def run(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any
    ) -> tuple[torch.Tensor, Any]:
        attend = function_of(self.base, self.module)
        result: tuple[torch.Tensor, Any] = attend(
            self.module, query, key, value, mask, **self.options
        )
        return result


class Packing(NamedTuple):
    """A way to attend, from a call to [P, A, D]; `slack` is the padding its blocks may have."""

    name: str
    attend: Callable[[Asked, Layout], torch.Tensor]
    slack: int

    def inputs(self, layout: Layout) -> dict[str, Any]:
        """What a prepared model is called with beside the ids.

        A mask of four dimensions is taken for one that is finished, so none is made.
        """
        places_BT = layout.places_BT
        unread = places_BT.new_zeros(1, 1, 1, 1)
        return {"attention_mask": unread, "position_ids": places_BT, "layout": layout}

    def prepare(self, config: Any) -> None:
        """From now on the model of this config (of its text) attends so where it has a layout."""
        base = own_attention(config)
        name = f"{base}_{self.name}"
        _STANDS_FOR[name] = base
        ALL_ATTENTION_FUNCTIONS.register(name, partial(_attend, self, base))
        ALL_MASK_ATTENTION_FUNCTIONS.register(name, ALL_MASK_ATTENTION_FUNCTIONS[base])
        config._attn_implementation = name


def _attend(
    packing: Packing,
    base: str,
    module: torch.nn.Module,
    query_BATD: torch.Tensor,
    key_BGTD: torch.Tensor,
    value_BGTD: torch.Tensor,
    mask: Any = None,
    *,
    layout: Layout | None = None,
    **options: Any,
) -> tuple[torch.Tensor, Any]:
    asked = Asked(base, module, query_BATD, key_BGTD, value_BGTD, options)
    if layout is None:
        return asked.run(query_BATD, key_BGTD, value_BGTD, mask)
    output_PAD = packing.attend(asked, layout)
    rows, _, tokens, _ = query_BATD.shape
    return output_PAD.view(rows, tokens, *output_PAD.shape[1:]), None


def _in_blocks(asked: Asked, layout: Layout) -> torch.Tensor:
    inputs = asked.query_BATD, asked.key_BGTD, asked.value_BGTD
    by_block = zip(*(_blocks_of(x_BATD, layout) for x_BATD in inputs), strict=True)
    outputs = [
        asked.run(query, key, value, _mask(asked, layout, block.width))[0].flatten(0, 1)
        for block, (query, key, value) in zip(layout.blocks, by_block, strict=True)
    ]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _blocks_of(x_BATD: torch.Tensor, layout: Layout) -> list[torch.Tensor]:
    """[rows, heads, W, D] a block: views, where the projections wrote heads side by side."""
    x_PAD = x_BATD.transpose(1, 2).flatten(0, 1)
    sizes = [block.places for block in layout.blocks]
    parts = [x_PAD] if len(sizes) == 1 else torch.split(x_PAD, sizes)
    return [
        part.view(block.rows, block.width, *part.shape[1:]).transpose(1, 2)
        for part, block in zip(parts, layout.blocks, strict=True)
    ]


def _mask(asked: Asked, layout: Layout, width: int) -> torch.Tensor | None:
    """[1, 1, W, W], to be added to scores; None where the function is causal without one."""
    window = min(width, asked.options.get("sliding_window") or width)
    if asked.base == "sdpa" and window == width:
        return None
    kind, device = asked.query_BATD.dtype, asked.query_BATD.device
    key = (width, window, kind)
    if key not in layout.masks:
        places_W = torch.arange(width, device=device)
        back_WW = places_W[:, None] - places_W
        seen_WW = (back_WW >= 0) & (back_WW < window)
        mask_WW = torch.zeros_like(seen_WW, dtype=kind)
        layout.masks[key] = mask_WW.masked_fill_(~seen_WW, torch.finfo(kind).min)[None, None]
    return layout.masks[key]


def _by_length(asked: Asked, layout: Layout) -> torch.Tensor:
    """Raises ValueError where the kernel lacks what the model asks for."""
    from torch.nn.attention.varlen import varlen_attn

    _refuse_other_formulas(asked)
    kind = _working_type(asked.query_BATD)
    inputs = asked.query_BATD, asked.key_BGTD, asked.value_BGTD
    query_PAD, key_PGD, value_PGD = (x.transpose(1, 2).flatten(0, 1).to(kind) for x in inputs)
    window = asked.options.get("sliding_window")
    output_PAD = varlen_attn(
        query_PAD,
        key_PGD,
        value_PGD,
        layout.starts,
        layout.starts,
        layout.longest,
        layout.longest,
        scale=asked.options.get("scaling"),
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=True,
    )
    assert isinstance(output_PAD, torch.Tensor)
    return output_PAD


def _refuse_other_formulas(asked: Asked) -> None:
    other = [name for name in OTHER_FORMULAS if asked.options.get(name) is not None]
    if asked.options.get("dropout"):
        other.append("dropout")
    if asked.query_BATD.shape[-1] > VARLEN_HEAD_SIZE:
        other.append("heads so large")
    if other:
        raise ValueError(f"attention of varying lengths has no {other[0]}")


def _working_type(tensor: torch.Tensor) -> torch.dtype:
    """Autocast does not know this kernel, so the cast is ours."""
    device = tensor.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else tensor.dtype


VARLEN = Packing("varlen", _by_length, 0)
BLOCKS = Packing("blocks", _in_blocks, BLOCK_SLACK)


def packings_for(device: torch.device, *, compiled: bool = False) -> tuple[Packing, ...]:
    """The best first. Compiled layers would be compiled anew for every other set of blocks."""
    by_length = (VARLEN,) if device.type == "cuda" else ()
    return by_length if compiled else (*by_length, BLOCKS)
