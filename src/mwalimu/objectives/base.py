"""`Term`: a sum in nats and the number of tokens it is over, divided once, at the very end.

Dividing a micro-batch by its own count would weigh short batches more than long ones, so that the
gradient would depend on how the rows were split.

Shapes: N target tokens, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional


class Term(NamedTuple):
    """An undivided loss: `sum_nats` is a scalar that carries the gradient."""

    sum_nats: torch.Tensor
    num_tokens: int


def cross_entropy_sum(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> Term:
    """Negative log-likelihood of the labels, summed in float32 whatever the logits' type."""
    sum_nats = functional.cross_entropy(logits_NV.float(), labels_N, reduction="sum")
    return Term(sum_nats, labels_N.numel())
