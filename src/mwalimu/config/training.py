"""The `finetune` section: how the student is trained. Imports no torch."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from mwalimu.config.objective import OnPolicyConfig, PartConfig, read_objective
from mwalimu.config.section import Section, Switch

OUTSIDE_THE_RESULT = frozenset(
    {"save_every", "save_minutes", "keep", "track", "activation_checkpointing", "parallel"}
)
"""Settings that change no weight: a resume may change them."""

Objective = Annotated[tuple[PartConfig, ...], BeforeValidator(read_objective)]


class MixtureConfig(Section):
    """How often the rows of a group come: one of weight 2 twice as often as one of weight 1."""

    by: str = Field("task", description="task, or a key of the rows' metadata")
    weights: dict[str, float] = Field(
        min_length=1, description="group -> weight; of a group that is not named 1, of 0 left out"
    )

    @field_validator("weights")
    @classmethod
    def _are_weights(cls, weights: dict[str, float]) -> dict[str, float]:
        for group, weight in weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"the weight of {group} is {weight:g}: it is 0 or above")
        return weights


class FinetuneConfig(Section):
    """How the student is trained."""

    learning_rate: float = Field(2e-5, gt=0, description="at its height, after the warm-up")
    batch_size: int = Field(8, ge=1, description="rows of one forward pass")
    accumulation: int = Field(1, ge=1, description="forward passes of one optimiser step")
    tokens_per_pass: int | None = Field(
        None,
        ge=1,
        description="a step's rows in forward passes of so many tokens, not of batch_size rows",
    )
    packing: Switch = Field(
        "auto", description="rows side by side without padding, each seen by itself alone"
    )
    activation_checkpointing: Switch = Field(
        "auto", description="less memory for a third more time: only if it would not fit"
    )
    compile: bool = Field(False, description="compile the layers, which takes minutes")
    optimiser: Literal["adamw", "adamw_8bit"] = Field(
        "adamw", description="adamw_8bit keeps moments in 8 bits"
    )
    epochs: int = Field(3, ge=1, description="times that every row is learned, at most")
    warmup_ratio: float = Field(
        0.05, ge=0, lt=1, description="share of the steps in which the rate rises"
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's, of matrices")
    adam_beta2: float = Field(0.999, gt=0, lt=1, description="lower for models from scratch")
    max_grad_norm: float = Field(1.0, gt=0, description="longer gradients are cut to it")
    mixture: MixtureConfig | None = Field(
        None,
        description="of groups of rows; an epoch has as many rows without it",
    )
    patience: int = Field(2, ge=1, description="validations without a better loss")
    validate_every: int | None = Field(
        None, ge=1, description="optimiser steps between validations, besides one an epoch"
    )
    save_every: int = Field(200, ge=1, description="optimiser steps between checkpoints")
    save_minutes: float | None = Field(
        None, gt=0, description="a checkpoint also so long after the last one"
    )
    keep: int = Field(2, ge=1, description="newest checkpoints that are kept, besides the best")
    track: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = Field(
        (), description="who shows metrics.jsonl as it grows"
    )
    objective: Objective = Field(
        (), description="auto (no part), a kind of loss, or parts with weights and temperatures"
    )
    teacher: Literal["auto", "cached", "live"] = Field(
        "auto", description="where the teacher's distribution comes from: cached unless impossible"
    )
    on_policy: OnPolicyConfig | None = None
    parallel: Literal["auto", "ddp", "fsdp"] = Field(
        "auto", description="of several processes, each holds the student, or a share of it"
    )
