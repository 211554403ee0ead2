"""Running out of memory ends with one line that says what to change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mwalimu.config import FinetuneConfig
from mwalimu.errors import OutOfMemory
from mwalimu.finetune.footprint import Setting, memory_of
from mwalimu.finetune.footprint.advice import what_to_change

# What CUDA, cuBLAS, MPS, and torch on CPUs say.
_SAYS = re.compile(r"out of memory|not enough memory|t allocate memory|ALLOC_FAILED", re.IGNORECASE)
_ASKED = re.compile(r"tried to allocate ([\d.]+ \w+)", re.IGNORECASE)


@contextmanager
def memory_errors(
    model: Any, settings: FinetuneConfig, lengths: Sequence[int], how: Setting | None = None
) -> Iterator[None]:
    """Turns an allocation that failed inside into OutOfMemory; other errors pass.

    `lengths` are those of the training rows, in tokens; `how` what is known of its memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and not _SAYS.search(str(error)):
            raise
        asked = _ASKED.search(str(error))
        raise OutOfMemory(
            "out of memory" + (f", asked for {asked[1]} more" if asked else ""),
            where="finetune",
            fix=f"{_fix(model, settings, lengths, how)}; the checkpoints are whole",
        ) from error


def _fix(model: Any, settings: FinetuneConfig, lengths: Sequence[int], how: Setting | None) -> str:
    """What would be enough, by numbers; where these do not tell, what would help."""
    found = "" if how is None else what_to_change(how, memory_of(how.device))
    return found or _advice(model, settings, lengths)


def _advice(model: Any, settings: FinetuneConfig, lengths: Sequence[int]) -> str:
    """What would help, the cheapest first."""
    ways = []
    if settings.activation_checkpointing != "on":
        ways.append("finetune.activation_checkpointing to on")
    if settings.batch_size > 1:
        half, twice = settings.batch_size // 2, settings.accumulation * 2
        ways.append(f"finetune.batch_size to {half} and accumulation to {twice}")
    if all(parameter.requires_grad for parameter in model.parameters()):
        ways.append("student.method to lora")
    ways.append(f"student.max_length below the {max(lengths)} tokens of the longest row")
    return "set " + ", or ".join(ways)
