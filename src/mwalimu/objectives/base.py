"""`Term`: what a micro-batch contributes to the loss of an optimiser step.

Every sum is divided once, by the number of target tokens of the whole step. Dividing a micro-batch
by its own count would weigh short batches more than long ones, so that the gradient would depend
on how the rows were split.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Term(NamedTuple):
    """`loss` carries the gradient: this batch's share of the step's mean, its `scale` multiplied.

    `sums` are the parts by name, over `num_tokens` tokens, without weight and scale: nats for what
    is over the vocabulary.
    """

    loss: torch.Tensor
    sums: dict[str, torch.Tensor]
    num_tokens: int
