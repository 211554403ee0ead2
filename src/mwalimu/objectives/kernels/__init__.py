"""The loss of one chunk of logits and its gradient: one contract, a version for each device.

On CUDA, Triton's kernels, where Triton can be imported; elsewhere, and in float64, torch's own
operations. MWALIMU_KERNELS=torch in the environment asks for torch everywhere: Triton compiles its
kernels at their first use, and that needs a C compiler, which a machine may lack.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache

import torch

from mwalimu.objectives.kernels import torch_chunk
from mwalimu.objectives.parts import Part
from mwalimu.objectives.targets import ChunkTarget

KERNELS = "MWALIMU_KERNELS"


ChunkLoss = Callable[
    [torch.Tensor, torch.Tensor, ChunkTarget | None, Sequence[Part], float], torch.Tensor
]


def chunk_loss(
    logits_CV: torch.Tensor,
    labels_C: torch.Tensor,
    target: ChunkTarget | None,
    parts: Sequence[Part],
    scale: float,
) -> torch.Tensor:
    """Values [P, C] of the parts, without their weights, with the square of the temperature.

    `logits_CV` becomes the gradient, with respect to it, of scale * sum of weight * value.
    """
    return version_for(logits_CV)(logits_CV, labels_C, target, parts, scale)


def version_for(logits_CV: torch.Tensor) -> ChunkLoss:
    fits = logits_CV.is_cuda and logits_CV.dtype == torch.float32 and logits_CV.is_contiguous()
    return (fits and _with_triton()) or torch_chunk.chunk_loss


@cache
def _with_triton() -> ChunkLoss | None:
    """Imported no sooner than there are logits on a card. The environment is read once."""
    if os.environ.get(KERNELS) == "torch":
        return None
    try:
        from mwalimu.objectives.kernels import triton_chunk
    except ImportError:
        return None
    return triton_chunk.chunk_loss
