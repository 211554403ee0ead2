"""The last layer's feed-forward part, run on those tokens alone whose states are asked for.

All that comes behind it, norm and head, takes each token by itself. So what it would add to tokens
without a target is never seen: most of them, where rows are mostly prompt. Of a student of few
layers that is a good share of all arithmetic.

Shapes: B rows, T tokens, N tokens asked for, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mwalimu.errors import ConfigError
from mwalimu.objectives.layers import decoder_layers


def last_layer(model: Any) -> torch.nn.Module | None:
    """None if the model's layers are not to be found."""
    try:
        return decoder_layers(model)[-1]
    except (ConfigError, AttributeError):
        return None


def feed_forward_of(layer: torch.nn.Module | None) -> torch.nn.Module | None:
    """None if there is none by the usual name, or if the layer is compiled or run twice.

    A second run, in the backward pass, would not know any more which tokens were asked for.
    """
    runs_twice = getattr(layer, "gradient_checkpointing", False)
    if layer is None or runs_twice or layer._compiled_call_impl is not None:
        return None
    return getattr(layer, "mlp", None)


@contextmanager
def only_at(module: torch.nn.Module, positions_N: torch.Tensor) -> Iterator[None]:
    """Inside, `module` runs on the tokens at these flat positions, and adds 0 to all others.

    Raises:
        ValueError: it is not given, or does not return, one [B, T, H].
    """
    shapes: list[torch.Size] = []

    def cut(_module: Any, arguments: tuple[Any, ...]) -> tuple[torch.Tensor]:
        if len(arguments) != 1 or arguments[0].ndim != 3:
            raise ValueError("a feed-forward part with other arguments than [B, T, H]")
        shapes.append(arguments[0].shape)
        rows: torch.Tensor = _Cut.apply(arguments[0], positions_N)  # type: ignore[no-untyped-call]
        return (rows,)

    def spread(_module: Any, _arguments: Any, output: Any) -> torch.Tensor:
        if not isinstance(output, torch.Tensor) or output.ndim != 3:
            raise ValueError("a feed-forward part with other results than [B, T, H]")
        whole: torch.Tensor = _Spread.apply(output, positions_N, shapes.pop())  # type: ignore[no-untyped-call]
        return whole

    hooks = module.register_forward_pre_hook(cut), module.register_forward_hook(spread)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _at(states_BTH: torch.Tensor, positions_N: torch.Tensor) -> torch.Tensor:
    """[1, N, H]."""
    return states_BTH.flatten(0, 1).index_select(0, positions_N)[None]


def _in_zeros(states_1NH: torch.Tensor, positions_N: torch.Tensor, shape: Any) -> torch.Tensor:
    whole_BTH = states_1NH.new_zeros(shape)
    whole_BTH.view(-1, shape[-1]).index_copy_(0, positions_N, states_1NH[0])
    return whole_BTH


class _Cut(torch.autograd.Function):
    """No position comes twice, so its gradient is a copy and no sum."""

    @staticmethod
    def forward(ctx: Any, states_BTH: torch.Tensor, positions_N: torch.Tensor) -> torch.Tensor:
        ctx.positions_N, ctx.shape = positions_N, states_BTH.shape
        return _at(states_BTH, positions_N)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _in_zeros(grads[0], ctx.positions_N, ctx.shape), None


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states_1NH: torch.Tensor, positions_N: torch.Tensor, shape: torch.Size
    ) -> torch.Tensor:
        ctx.positions_N = positions_N
        return _in_zeros(states_1NH, positions_N, shape)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _at(grads[0], ctx.positions_N), None, None
