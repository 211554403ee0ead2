"""The log-probability of each target token, without the logits of a batch ever existing together.

For losses that need no more of a distribution than what it gives to the tokens that were said. The
forward pass keeps two numbers a token; the backward pass projects again, since what the gradient
of a token is multiplied with is known only then. That is 4 units of head work, 3 with a frozen
head.

Shapes: N target tokens, C tokens of a chunk, V vocabulary, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from mwalimu.objectives.head import Head
from mwalimu.objectives.head_gradients import (
    HeadGradients,
    chunks,
    logits_of,
    width_of,
    working,
)


def token_logprobs(
    hidden_NH: torch.Tensor, head: Head | None, labels_N: torch.Tensor
) -> torch.Tensor:
    """Natural log-probabilities of the labels, [N], in float32 (float64 for float64 states).

    The gradient goes to the states, and to the head's weight and bias where they are trained.
    Without a head the states are logits already. A label has to be below the head's vocabulary.
    """
    weight, bias = (head.weight_VH, head.bias_V) if head else (None, None)
    logq_N: torch.Tensor = _TokenLogprobs.apply(hidden_NH, weight, bias, labels_N, head)  # type: ignore[no-untyped-call]
    return logq_N


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: torch.Tensor,
        weight_VH: torch.Tensor | None,
        bias_V: torch.Tensor | None,
        labels_N: torch.Tensor,
        head: Head | None,
    ) -> torch.Tensor:
        peaks, sums, values = [], [], []
        used = None if head is None else working(head, hidden_NH)
        with torch.autocast(hidden_NH.device.type, enabled=False):
            for rows in _chunks(hidden_NH, head):
                logits_CV = logits_of(used, hidden_NH[rows])
                peak_C = logits_CV.amax(1)
                # Less the peak first: a label that is nearly certain keeps its last digits.
                logits_CV -= peak_C[:, None]
                labels_C1 = labels_N[rows, None]
                chosen_C = logits_CV.gather(1, labels_C1)[:, 0]
                sum_C = logits_CV.exp_().sum(1).log_()
                peaks.append(peak_C)
                sums.append(sum_C)
                values.append(chosen_C - sum_C)
        kind = torch.float64 if hidden_NH.dtype == torch.float64 else torch.float32
        none_N = [hidden_NH.new_zeros(0, dtype=kind)]
        ctx.head = head
        ctx.save_for_backward(
            hidden_NH,
            weight_VH,
            bias_V,
            labels_N,
            torch.cat(peaks or none_N),
            torch.cat(sums or none_N),
        )
        return torch.cat(values or none_N)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden_NH, _, _, labels_N, peak_N, sum_N = ctx.saved_tensors
        found = HeadGradients.of(ctx.head, hidden_NH, ctx.needs_input_grad[:3])
        with torch.autocast(hidden_NH.device.type, enabled=False):
            for rows in _chunks(hidden_NH, ctx.head):
                logits_CV = logits_of(found.head, hidden_NH[rows])
                share_C1 = grad_N[rows, None]
                # d logq / d logits = (1 at the label) - softmax
                grad_CV = (logits_CV - peak_N[rows, None]).sub_(sum_N[rows, None]).exp_()
                grad_CV.mul_(-share_C1).scatter_add_(1, labels_N[rows, None], share_C1)
                found.add(rows, grad_CV, hidden_CH=hidden_NH[rows], logits_CV=logits_CV)
        return *found.finished(), None, None


def _chunks(hidden_NH: torch.Tensor, head: Head | None) -> Iterator[slice]:
    return chunks(len(hidden_NH), width_of(head, hidden_NH), hidden_NH.device)
