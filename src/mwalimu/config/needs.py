"""What an objective needs of the teacher beside its text, read from the config alone."""

from __future__ import annotations

from mwalimu.config.objective import DIVERGENCES, PartConfig, Schedule
from mwalimu.config.settings import Config

LIVE_ONLY = ("attention", "optimal_transport")
"""What no cache can hold in a sensible size."""


def needed_signals(config: Config) -> tuple[str, ...]:
    """The encodings to be captured before training, in a fixed order; none for a live teacher."""
    if config.finetune.teacher == "live":
        return ()
    kinds = {part.kind for part in config.finetune.objective}
    needed = []
    if kinds & set(DIVERGENCES):
        needed.append(config.signals.encoding)
    if "hidden" in kinds:
        needed.append("hidden")
    if "chunk_likelihood" in kinds:
        needed.append("realised")
    return tuple(needed)


def capture_temperature(config: Config) -> float:
    """What divides the teacher's logits before its distribution is cut down or drawn from."""
    if config.signals.encoding not in ("sampled", "topk"):
        return 1.0  # all of it is kept, and takes any temperature later
    found = [part.temperature for part in config.finetune.objective if part.kind in DIVERGENCES]
    return float(found[0]) if found and not isinstance(found[0], Schedule) else 1.0


def learns_from_teacher(parts: tuple[PartConfig, ...]) -> bool:
    return any(part.kind != "cross_entropy" for part in parts)


def teacher_layers(parts: tuple[PartConfig, ...], kind: str) -> tuple[int, ...]:
    """The teacher's side of the layer pairs, which have been written out by now."""
    layers = [part.layers for part in parts if part.kind == kind]
    pairs = [pair for chosen in layers if not isinstance(chosen, str) for pair in chosen]
    return tuple(sorted({teacher for _, teacher in pairs}))
