"""AdamW, its learning rate, and what decays."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from mwalimu.config import FinetuneConfig


def build_optimiser(
    named: Iterable[tuple[str, torch.nn.Parameter]], config: FinetuneConfig
) -> torch.optim.AdamW:
    """Matrices decay; norms and biases, which are vectors, do not."""
    parameters = [parameter for _, parameter in named]
    matrices = [p for p in parameters if p.ndim >= 2]
    vectors = [p for p in parameters if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    betas = (0.9, config.adam_beta2)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=True)


def learning_rate(step: int, total: int, config: FinetuneConfig) -> float:
    """Linear warm-up, then a cosine that would be 0 one step after the last; `step` is from 0."""
    warmup = math.ceil(config.warmup_ratio * total)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
