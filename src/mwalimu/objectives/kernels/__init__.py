"""The loss of one chunk of logits and its gradient: one contract, a version for each device."""

from mwalimu.objectives.kernels.torch_chunk import chunk_loss

__all__ = ["chunk_loss"]
