"""AdamW, its learning rate, and what decays."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from mwalimu.config import FinetuneConfig
from mwalimu.finetune.low_memory_adamw import LowMemoryAdamW


def build_optimiser(
    named: Iterable[tuple[str, torch.nn.Parameter]], config: FinetuneConfig
) -> torch.optim.Optimizer:
    """Matrices decay; norms and biases, which are vectors, do not.

    torch's fused AdamW would round updates of bfloat16 weights away, and has moments of the
    weights' type: such weights, and moments in 8 bits, are `LowMemoryAdamW`'s.
    """
    parameters = [parameter for _, parameter in named]
    matrices = [p for p in parameters if p.ndim >= 2]
    vectors = [p for p in parameters if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate, betas = config.learning_rate, (0.9, config.adam_beta2)
    if config.optimiser == "adamw_8bit":
        return LowMemoryAdamW(groups, lr=rate, betas=betas, moments=8)
    if any(parameter.dtype == torch.bfloat16 for parameter in parameters):
        return LowMemoryAdamW(groups, lr=rate, betas=betas, moments=32)
    return torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True)


def learning_rate(step: int, total: int, config: FinetuneConfig) -> float:
    """Linear warm-up, then a cosine that would be 0 one step after the last; `step` is from 0."""
    warmup = math.ceil(config.warmup_ratio * total)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
