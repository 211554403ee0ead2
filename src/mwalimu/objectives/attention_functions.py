"""The table of attention functions that the models of transformers ask for theirs at every call.

Shapes: B rows, T tokens, A heads, G key heads, D of a head.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from mwalimu.errors import ConfigError


class Call(NamedTuple):
    """One call of an attention function: its module, what it was given, what it returned."""

    module: torch.nn.Module
    query_BATD: torch.Tensor
    key_BGTD: torch.Tensor
    value_BGTD: torch.Tensor
    mask: Any
    options: dict[str, Any]
    output_BTAD: torch.Tensor


def function_of(name: str, module: torch.nn.Module) -> Any:
    """An entry of the table comes before the model's own."""
    return ALL_ATTENTION_FUNCTIONS.get(name) or _eager_of(module)


def _eager_of(module: torch.nn.Module) -> Any:
    """Eager attention is no entry of the table but each model's own."""
    for kind in type(module).__mro__:
        eager = getattr(sys.modules[kind.__module__], "eager_attention_forward", None)
        if eager is not None:
            return eager
    raise ConfigError(
        f"{type(module).__name__} has no eager attention to be found",
        fix="choose other layers or leave out attention transfer",
    )


@contextmanager
def observed(name: str, see: Callable[[Call], object]) -> Iterator[None]:
    """Inside, `see` is told of every call of the attention function `name`, of any model."""
    previous = ALL_ATTENTION_FUNCTIONS.get(name)

    def attend(
        module: torch.nn.Module, query: Any, key: Any, value: Any, mask: Any = None, **options: Any
    ) -> Any:
        run = previous or _eager_of(module)
        result = run(module, query, key, value, mask, **options)
        see(Call(module, query, key, value, mask, options, result[0]))
        return result

    ALL_ATTENTION_FUNCTIONS[name] = attend
    try:
        yield
    finally:
        del ALL_ATTENTION_FUNCTIONS[name]
        if ALL_ATTENTION_FUNCTIONS.get(name) is not previous:
            ALL_ATTENTION_FUNCTIONS[name] = previous
