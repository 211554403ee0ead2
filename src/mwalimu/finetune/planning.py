"""Before a training begins: what it will take of memory, and what follows from that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.footprint import (
    Setting,
    free_memory_of,
    gib,
    give_memory_back,
    needed,
)
from mwalimu.finetune.footprint.advice import checkpointing_decided, lengths_of, setting_of
from mwalimu.finetune.parallel.world import World

HELD = 2.5
"""What the C library may come to hold on a CPU, of what is needed: up to 2.5 was measured."""


def plan_memory(
    model: Any,
    student: StudentConfig,
    settings: FinetuneConfig,
    rows: Sequence[Encoded],
    source: Any,
    world: World,
    tell: Callable[[str], None],
    *,
    validates: bool,
) -> Setting | None:
    """What decides its memory, with `activation_checkpointing` on or off where it was auto, the
    same in all processes; None for a model of which that cannot be worked out.

    `source` is where the teacher's distributions come from, of which a live one takes room.
    """
    teacher = getattr(getattr(source, "live", source), "model", None)
    how = setting_of(
        _numbers_of(model),
        student,
        settings,
        lengths_of([len(row) for row in rows], [row.targets for row in rows], settings),
        model.device.type,
        validates=validates,
        teacher=None if teacher is None else _numbers_of(teacher),
    )
    if how is None:
        return None
    # The processes of a machine share its memory, but each has a GPU of its own.
    sharing = world.size if how.device == "cpu" else 1
    free = world.from_main(lambda: free_memory_of(how.device)) / sharing
    decided = checkpointing_decided(how, free)
    if decided.checkpointing and settings.activation_checkpointing == "auto":
        tell(
            f"activations are made twice: {gib(needed(decided))} of memory, not {gib(needed(how))}"
        )
    if how.device == "cpu" and HELD * needed(decided) > free:
        give_memory_back()
    return decided


def _numbers_of(model: Any) -> dict[str, Any]:
    return dict(model.config.get_text_config().to_dict())
