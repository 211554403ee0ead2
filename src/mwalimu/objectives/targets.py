"""What a teacher says of N target tokens, in the forms that the fused loss understands.

Shapes: N target tokens, V vocabulary, K entries a token, H the teacher's hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from mwalimu.objectives.head import Head


@dataclass(frozen=True, slots=True)
class SampledTarget:
    """Draws from the teacher: their ids and shares (counts / draws). Pads have weight 0."""

    ids_NK: torch.Tensor
    weight_NK: torch.Tensor

    def rows(self, part: slice) -> SampledTarget:
        return SampledTarget(self.ids_NK[part], self.weight_NK[part])


@dataclass(frozen=True, slots=True)
class SparseTarget:
    """The most probable tokens and the log of the mass of all others.

    Pads have a log-probability of minus infinity; so has a tail without mass.
    """

    ids_NK: torch.Tensor
    logp_NK: torch.Tensor
    tail_N: torch.Tensor

    def rows(self, part: slice) -> SparseTarget:
        return SparseTarget(self.ids_NK[part], self.logp_NK[part], self.tail_N[part])


@dataclass(frozen=True, slots=True)
class DenseTarget:
    """Log-probabilities, or logits, of all tokens; any temperature can be applied to them."""

    logp_NV: torch.Tensor

    def rows(self, part: slice) -> DenseTarget:
        return DenseTarget(self.logp_NV[part])


@dataclass(frozen=True, slots=True)
class LiveTarget:
    """A teacher at work: its states before its head, which runs a chunk at a time like ours."""

    hidden_NH: torch.Tensor
    head: Head

    def rows(self, part: slice) -> DenseTarget:
        return DenseTarget(self.head.logits(self.hidden_NH[part]))

    def cut_to(self, vocabulary: int) -> LiveTarget:
        return LiveTarget(self.hidden_NH, replace(self.head, vocabulary=vocabulary))


Target = SampledTarget | SparseTarget | DenseTarget | LiveTarget
ChunkTarget = SampledTarget | SparseTarget | DenseTarget
