"""The memory of a training as people and as programs read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mwalimu.estimate.memory_side import Memory
from mwalimu.finetune.footprint import gib
from mwalimu.finetune.footprint.advice import consequence
from mwalimu.finetune.footprint.peak import MOMENTS

SHOWN = 1 << 20  # bytes from which a term is named


def memory_lines(memory: Memory) -> Iterator[tuple[str, str]]:
    """(label, text), the whole first."""
    size = (memory.needed * (1 / 2**30)).shown(",.2f")
    where = "this machine" if memory.device == "cpu" else "the GPU"
    twice = ", with activation_checkpointing, which is auto" if memory.twice else ""
    yield (
        "",
        f"{size} GiB at its peak, {MOMENTS[memory.peak.moment]}: "
        f"{memory.verdict} in the {gib(memory.available)} of {where}{twice}",
    )
    terms = _terms(memory).items()
    yield "of which", ", ".join(f"{name} {gib(size)}" for name, size in terms if size >= SHOWN)
    if memory.change is not None:
        options = " ".join(f"--set {option}" for option in memory.change.options)
        yield "to make it fit", f"{options}; {consequence(memory.setting, memory.change)}"
    elif memory.verdict != "fits":
        yield "to make it fit", "no setting does; a smaller student or shorter rows would"
    for what in memory.unknown:
        yield "not counted", what


def memory_json(memory: Memory) -> dict[str, Any]:
    """In bytes."""
    change = memory.change
    return {
        "needed": memory.needed.to_json(),
        "moment": memory.peak.moment,
        "terms": _terms(memory),
        "device": memory.device,
        "available": memory.available,
        "verdict": memory.verdict,
        "checkpointing": memory.setting.checkpointing,
        "change": change
        and {"options": change.options, "needed": change.needed, "slower": change.slower},
        "unknown": memory.unknown,
    }


def _terms(memory: Memory) -> dict[str, float]:
    return memory.peak.terms._asdict() | {"libraries": float(memory.libraries)}
