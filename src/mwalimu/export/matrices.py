"""What a rounding is, whatever the format."""

from __future__ import annotations

from collections.abc import Callable

import torch

Rounding = Callable[[torch.Tensor], torch.Tensor]
"""A matrix [rows, inputs] to what is read back of the file, of the same shape and type."""


def as_type(dtype: torch.dtype) -> Rounding:
    """Stored as plain numbers of fewer bits."""
    return lambda weight_OI: weight_OI.to(dtype).to(weight_OI.dtype)
