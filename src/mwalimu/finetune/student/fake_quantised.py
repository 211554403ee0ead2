"""Weights that learn under the rounding of the file that they will be in.

The forward pass sees rounded weights, the gradient goes straight through to the unrounded ones
(straight-through estimator: Bengio et al. 2013, arXiv 1308.3432; in training for quantised
inference: Jacob et al. 2018, arXiv 1712.05877).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn.utils import parametrize

Rounding = Callable[[torch.Tensor], torch.Tensor]
"""A matrix [rows, inputs] to its rounded self, of the same shape and type."""

Roundings = Callable[[Any], Mapping[str, Rounding]]
"""Those of a model's modules, by their names."""


def fake_quantise(model: Any, roundings: Mapping[str, Rounding]) -> None:
    """From now on the modules of these names compute with rounded weights; a tied matrix stays one,
    and may be rounded in two ways.
    """
    for name, rounding in roundings.items():
        parametrize.register_parametrization(
            model.get_submodule(name), "weight", _Rounded(rounding), unsafe=True
        )


def unrounded(model: Any) -> None:
    """Undoes `fake_quantise`: plain modules again, with the weights that were trained."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)


class _Rounded(torch.nn.Module):
    def __init__(self, rounding: Rounding) -> None:
        super().__init__()
        self.rounding = rounding

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        through: Callable[..., torch.Tensor] = _StraightThrough.apply
        return through(weight, self.rounding)


class _StraightThrough(torch.autograd.Function):
    """Not `w + (rounded - w)`, whose sum would round once more."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, rounding: Rounding) -> torch.Tensor:
        return rounding(weight.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0], None
