"""What training will take of memory, whether it fits, and what would make it fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from mwalimu.config import Config, learns_from_teacher
from mwalimu.estimate.models_here import config_of, context_of, known_shape
from mwalimu.estimate.spans import Span
from mwalimu.finetune.footprint import (
    LIBRARIES,
    Change,
    Device,
    Footprint,
    Lengths,
    Model,
    Setting,
    fits,
    footprint,
    frozen_model,
    least_change,
    memory_of,
    needed,
    pruned,
    training_device,
)
from mwalimu.finetune.footprint.advice import checkpointing_decided

MAX_LENGTH = 2048  # tokens of a row, where the config sets nothing, as in training
ENTRY_BYTES = 12  # of a cached token of the teacher's: its id and its log-probability


@dataclass(frozen=True, slots=True)
class Room:
    """Where training will run; None for what this machine has."""

    device: Device | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """`needed` are bytes of the whole process, or GPU, `peak` what is there at its fullest moment
    with rows of the likely length, `available` what there is; `change` makes it fit if it does not.
    `twice`: activations will be made twice, because it would not fit otherwise.

    `unknown` names what could not be counted.
    """

    needed: Span
    peak: Footprint
    libraries: int
    device: Device
    available: int
    setting: Setting
    change: Change | None
    twice: bool
    unknown: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        if fits(self.setting, self.available):
            return "fits"
        if self.needed.low > self.available:
            return "does not fit"
        return "may not fit"


def memory_side(
    config: Config, longest: Span, answer: Span, all_tokens: float, room: Room
) -> Memory | None:
    """`longest` is the longest prompt and `answer` an answer, in tokens; `all_tokens` those of all
    rows. None where the student's shape is not known."""
    student = config.student
    shape = known_shape(student.model)
    if shape is None:
        return None
    device = room.device or training_device()
    limit = student.max_length or min(MAX_LENGTH, context_of(student.model) or MAX_LENGTH)
    teacher, unknown = _live_teacher(config, device)
    setting = Setting(
        shape=pruned(shape, student.prune),
        student=student,
        finetune=config.finetune,
        lengths=_lengths(longest.high, answer.high, limit, all_tokens),
        device=device,
        validates=config.data.validation is not None,
        teacher=teacher,
        cached=_cached(config),
    )
    likely = replace(setting, lengths=_lengths(longest.mid, answer.mid, limit, all_tokens))
    least = replace(setting, lengths=_lengths(longest.low, answer.low, limit, all_tokens))
    available = room.memory or memory_of(device)
    setting = checkpointing_decided(setting, available)  # as training itself does it
    likely, least = (replace(one, finetune=setting.finetune) for one in (likely, least))
    change = None if fits(setting, available) else least_change(setting, available)
    return Memory(
        Span(needed(likely), needed(least), needed(setting)),
        footprint(likely),
        LIBRARIES[device],
        device,
        available,
        setting,
        change,
        setting.checkpointing and config.finetune.activation_checkpointing == "auto",
        unknown,
    )


def _lengths(longest: float, answer: float, limit: int, all_tokens: float) -> Lengths:
    """Of the longest row: rows beyond the limit are cut."""
    tokens = min(limit, math.ceil(longest + answer))
    targets = max(1, min(tokens - 1, math.ceil(answer)))
    return Lengths(longest=tokens, targets=targets, all=math.ceil(all_tokens))


def _live_teacher(config: Config, device: Device) -> tuple[Model | None, tuple[str, ...]]:
    """One that runs beside the student; and what is not known of it."""
    settings, name = config.finetune, config.teacher.model
    works = settings.teacher == "live" or settings.on_policy is not None
    if not works or config.teacher.scoring != "none":
        return None, ()
    shape = known_shape(name)
    if shape is None:
        return None, (f"the teacher beside it: the shape of {name} is not known here",)
    raw = config_of(name)
    return frozen_model(shape, str(raw.get("dtype") or raw.get("torch_dtype")), device), ()


def _cached(config: Config) -> float:
    """Bytes a target token of what the teacher said; 0 where it is about text alone."""
    objective = config.finetune.objective
    if config.finetune.teacher == "live" or (objective and not learns_from_teacher(objective)):
        return 0.0
    kept = config.signals.draws if config.signals.encoding == "sampled" else config.signals.k
    return float(ENTRY_BYTES * kept)
