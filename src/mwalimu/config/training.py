"""The `finetune` section: how the student is trained. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from mwalimu.config.objective import OnPolicyConfig, PartConfig, read_objective
from mwalimu.config.section import Section

Objective = Annotated[tuple[PartConfig, ...], BeforeValidator(read_objective)]


class FinetuneConfig(Section):
    learning_rate: float = Field(2e-5, gt=0)
    batch_size: int = Field(8, ge=1, description="rows of one forward pass")
    accumulation: int = Field(1, ge=1)
    epochs: int = Field(3, ge=1)
    warmup_ratio: float = Field(0.05, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    adam_beta2: float = Field(0.999, gt=0, lt=1, description="lower for models from scratch")
    max_grad_norm: float = Field(1.0, gt=0)
    patience: int = Field(2, ge=1, description="epochs without a better validation loss")
    save_every: int = Field(200, ge=1, description="optimiser steps between checkpoints")
    objective: Objective = Field(
        (), description="auto (no part), a kind of loss, or parts with weights and temperatures"
    )
    teacher: Literal["auto", "cached", "live"] = Field(
        "auto", description="where the teacher's distribution comes from: cached unless impossible"
    )
    on_policy: OnPolicyConfig | None = None
