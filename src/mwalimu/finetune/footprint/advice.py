"""What a training that is about to begin, or ran out of memory, is told about its memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.finetune.footprint.fitting import (
    LIBRARIES,
    SHARE,
    Change,
    fits,
    least_change,
    needed,
)
from mwalimu.finetune.footprint.machine import gib
from mwalimu.finetune.footprint.model import frozen_model
from mwalimu.finetune.footprint.reading import shape_of
from mwalimu.finetune.footprint.setting import Device, Lengths, Setting

ROOMY = 0.5
"""Of the memory that there is: a training that needs less and finds none shares it with others."""
LESS = 0.8
"""Of what it was thought to need: so much less would have fitted."""


def setting_of(
    config: Mapping[str, Any],
    student: StudentConfig,
    settings: FinetuneConfig,
    lengths: Lengths,
    device: Device,
    *,
    validates: bool = True,
    teacher: Mapping[str, Any] | None = None,
) -> Setting | None:
    """Of a loaded student by its model's config, and of a live teacher by its own.

    None where a model is of another kind than can be worked out.
    """
    shape = shape_of(config)
    teachers = None if teacher is None else shape_of(teacher)
    if shape is None or (teacher is not None and teachers is None):
        return None
    beside = None
    if teacher is not None and teachers is not None:
        beside = frozen_model(teachers, str(teacher.get("dtype")), device)
    return Setting(
        shape=shape,
        student=student,
        finetune=settings,
        lengths=lengths,
        device=device,
        validates=validates,
        teacher=beside,
    )


def lengths_of(tokens: Sequence[int], targets: Sequence[int], settings: FinetuneConfig) -> Lengths:
    """Of rows with so many tokens each, of which so many are learned.

    Batches are of like length, so the fullest has the longest rows: packed, as many tokens as
    these have.
    """
    longest = max(tokens)
    fullest = sorted(zip(tokens, targets, strict=True))[-settings.batch_size :]
    places = sum(size for size, _ in fullest)
    share = sum(learned for _, learned in fullest) / places
    if settings.packing == "off":
        places = longest * settings.batch_size
    return Lengths(
        longest=longest,
        targets=max(1, round(longest * share)),
        all=sum(tokens),
        alike=len(set(tokens)) == 1,
        fullest=places,
    )


def checkpointing_decided(how: Setting, memory: float) -> Setting:
    """`activation_checkpointing`, where it is auto: on only where it would not fit without."""
    if how.finetune.activation_checkpointing != "auto":
        return how
    chosen = "off" if fits(how, memory) else "on"
    settings = how.finetune.model_copy(update={"activation_checkpointing": chosen})
    return replace(how, finetune=settings)


def what_to_change(how: Setting, memory: float) -> str:
    """The options that would let a training fit which ran out of `memory` bytes, in one clause.

    Nothing where it should have fitted by far, for then it is not its own size that is to blame,
    and where no option is enough.
    """
    whole = needed(how)
    if whole < ROOMY * memory:
        return ""
    own = LESS * (whole - LIBRARIES[how.device]) + LIBRARIES[how.device]
    change = least_change(how, min(memory, own / SHARE))
    if change is None:
        return ""
    return f"set {' and '.join(change.options)}, {consequence(how, change)}"


def consequence(how: Setting, change: Change) -> str:
    """`which needs 5.2 GiB in place of 9.1 GiB and takes 33 % more time`"""
    slower = change.slower - 1
    time = f" and takes {slower:.0%} more time" if slower >= 0.005 else ""
    return f"which needs {gib(change.needed)} in place of {gib(needed(how))}{time}"
