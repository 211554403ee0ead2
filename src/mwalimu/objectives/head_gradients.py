"""Gradients through a head that runs a chunk of tokens at a time.

A loss hands over what it found for a chunk's logits; the states' part of the gradient is written,
those of weight and bias are summed in float32 whatever the model's type, since half-precision sums
over thousands of tokens lose the small ones. What is frozen costs nothing.

Shapes: N target tokens, C tokens of a chunk, V vocabulary, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from mwalimu.objectives.chunking import chunk_tokens
from mwalimu.objectives.head import Head, matmul


@dataclass(slots=True)
class HeadGradients:
    """`head` computes in the states' type; without one, the states are logits already."""

    head: Head | None
    hidden_NH: torch.Tensor | None
    weight_VH: torch.Tensor | None
    bias_V: torch.Tensor | None
    weight_type: torch.dtype | None

    @classmethod
    def of(
        cls, head: Head | None, hidden_NH: torch.Tensor, wanted: Sequence[bool]
    ) -> HeadGradients:
        """`wanted`: whether there is to be a gradient of the states, the weight, the bias."""
        hidden = torch.empty_like(hidden_NH) if wanted[0] else None
        if head is None:
            return cls(None, hidden, None, None, None)
        kind = torch.float64 if hidden_NH.dtype == torch.float64 else torch.float32
        weight = torch.zeros_like(head.weight_VH, dtype=kind) if wanted[1] else None
        bias = None
        if wanted[2] and head.bias_V is not None:
            bias = torch.zeros_like(head.bias_V, dtype=kind)
        return cls(working(head, hidden_NH), hidden, weight, bias, head.weight_VH.dtype)

    def add(
        self,
        rows: slice,
        grad_CV: torch.Tensor,
        *,
        hidden_CH: torch.Tensor,
        logits_CV: torch.Tensor,
    ) -> None:
        """`grad_CV`, of the logits, is used up: its memory is written to."""
        head = self.head
        if head is None:
            if self.hidden_NH is not None:
                self.hidden_NH[rows] = grad_CV
            return
        grad_CV = head.before_cap(grad_CV, logits_CV)
        width = slice(0, grad_CV.shape[1])
        if self.bias_V is not None:
            self.bias_V[width] += grad_CV.sum(0)
        low_CV = grad_CV.to(hidden_CH.dtype)
        if self.hidden_NH is not None:
            self.hidden_NH[rows] = matmul(low_CV, head.weight_VH[width]).to(hidden_CH.dtype)
        if self.weight_VH is None:
            return
        if low_CV.dtype == self.weight_VH.dtype:
            self.weight_VH[width].addmm_(low_CV.t(), hidden_CH)
        else:
            self.weight_VH[width] += matmul(low_CV.t(), hidden_CH)

    def finished(self) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """Of the states, the weight and the bias, each in its own type."""
        weight, bias = self.weight_VH, self.bias_V
        if weight is not None:
            weight = weight.to(self.weight_type)
        if bias is not None and self.head is not None and self.head.bias_V is not None:
            bias = bias.to(self.head.bias_V.dtype)
        return self.hidden_NH, weight, bias


def working(head: Head, hidden_NH: torch.Tensor) -> Head:
    """The weight in the type of the states, cast once and not once a chunk."""
    bias_V = None if head.bias_V is None else head.bias_V.detach()
    return replace(head, weight_VH=head.weight_VH.detach().to(hidden_NH.dtype), bias_V=bias_V)


def logits_of(head: Head | None, hidden_CH: torch.Tensor) -> torch.Tensor:
    """New ones, in float32 unless they are float64; without a head a copy of what came in."""
    if head is not None:
        return head.logits(hidden_CH)
    kind = torch.float64 if hidden_CH.dtype == torch.float64 else torch.float32
    return hidden_CH.to(kind, copy=True)


def width_of(head: Head | None, hidden_NH: torch.Tensor) -> int:
    """V, of the tokens that there are."""
    if head is None:
        return hidden_NH.shape[1]
    return head.vocabulary or head.weight_VH.shape[0]


def chunks(
    tokens: int, width: int, device: torch.device, size: int | None = None
) -> Iterator[slice]:
    """Slices of the tokens, where each token takes `width` numbers, unless a size is given."""
    size = size or chunk_tokens(width, device.type)
    for start in range(0, tokens, size):
        yield slice(start, start + size)
