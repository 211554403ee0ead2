"""What to change so that a training fits into a memory: the change that costs least.

Changes in the order of what they cost:

1. smaller forward passes, more of them a step: the same result, and little time while a pass has
   tokens enough to keep the device busy
2. activations made twice: the same result, a third more time
3. moments of the optimiser in 8 bits
4. an adapter in place of all weights, then one on a base in 8 or 4 bits: another result

Of those that fit, the one that changes the least of the result, then the fastest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from mwalimu.finetune.footprint.peak import footprint
from mwalimu.finetune.footprint.setting import Setting

LIBRARIES = {"cpu": 400 << 20, "cuda": 500 << 20}
"""What a process holds before it trains: on a CPU torch and transformers (392 MiB measured with
torch 2.13, benchmarks/finetune/memory.py), on CUDA the context (an assumption)."""
SHARE = 0.95
"""Of a memory that is planned for: an allocator rounds up, and holds what it cannot use."""

TWICE = 4 / 3  # forward passes that are run twice: 4 units of work in place of 3
BUSY_TOKENS = {"cpu": 64, "cuda": 1024}
"""A pass of n tokens takes as long as n + so many (an assumption)."""


class Change(NamedTuple):
    """`options` are what `--set` takes; `needed` in bytes, libraries and all; `slower` 1.3 for 30 %
    more time. `severity` orders the kinds of change."""

    how: Setting
    options: tuple[str, ...]
    needed: float
    severity: int
    slower: float


def needed(how: Setting) -> float:
    """Bytes of the whole process, or of the whole GPU."""
    return footprint(how).terms.total + LIBRARIES[how.device]


def fits(how: Setting, memory: float) -> bool:
    return needed(how) <= SHARE * memory


def least_change(how: Setting, memory: float) -> Change | None:
    """What lets `how` fit into `memory` bytes; None if nothing here does.

    One without options if it fits as it is. The rows of an optimiser step stay as they are.
    """
    fitting = (change for change in changes(how) if change.needed <= SHARE * memory)
    return min(fitting, key=lambda change: (change.severity, change.slower), default=None)


def changes(how: Setting) -> Iterator[Change]:
    """All combinations, the first without any change."""
    for severity, options in enumerate(_kinds(how)):
        for twice in _checkpointing(how):
            for smaller in _smaller_passes(how):
                every = options | twice | smaller
                changed = _changed(how, every)
                yield Change(
                    changed,
                    tuple(f"{key}={value}" for key, value in every.items()),
                    needed(changed),
                    severity,
                    _seconds(changed) / _seconds(how),
                )


Options = dict[str, str | int]


def _kinds(how: Setting) -> list[Options]:
    student, settings = how.student, how.finetune
    kinds: list[Options] = [{}]
    if settings.optimiser == "adamw" and not student.adapts:
        kinds.append({"finetune.optimiser": "adamw_8bit"})
    if not student.adapts and not student.freeze:
        kinds.append({"student.method": "lora"})
    if not student.freeze and student.bits == 16:
        method: Options = {} if student.adapts else {"student.method": "lora"}
        kinds.append(method | {"student.base_bits": 8})
        kinds.append(method | {"student.base_bits": 4})
    return kinds


def _checkpointing(how: Setting) -> list[Options]:
    if how.checkpointing:
        return [{}]
    return [{}, {"finetune.activation_checkpointing": "on"}]


def _smaller_passes(how: Setting) -> Iterator[Options]:
    """Down to one row; the rows of a step stay the same."""
    settings, longest = how.finetune, how.lengths.longest
    yield {}
    if settings.tokens_per_pass is not None:
        tokens = settings.tokens_per_pass // 2
        while tokens >= longest:
            yield {"finetune.tokens_per_pass": tokens}
            tokens //= 2
        return
    for parts in range(2, settings.batch_size + 1):
        if settings.batch_size % parts == 0:
            yield {
                "finetune.batch_size": settings.batch_size // parts,
                "finetune.accumulation": settings.accumulation * parts,
            }


def _changed(how: Setting, options: Options) -> Setting:
    changed: dict[str, Options] = {"student": {}, "finetune": {}}
    for key, value in options.items():
        section, _, name = key.partition(".")
        changed[section][name] = value
    lengths = how.lengths
    if lengths.fullest is not None and "batch_size" in changed["finetune"]:
        parts = how.finetune.batch_size // int(changed["finetune"]["batch_size"])
        fullest = max(lengths.longest, math.ceil(lengths.fullest / parts))
        lengths = replace(lengths, fullest=fullest)
    return replace(
        how,
        student=how.student.model_copy(update=changed["student"]),
        finetune=how.finetune.model_copy(update=changed["finetune"]),
        lengths=lengths,
    )


def _seconds(how: Setting) -> float:
    """Of a step, in units that all settings of one job share."""
    tokens = how.passes * (how.places + BUSY_TOKENS[how.device])
    return tokens * (TWICE if how.checkpointing else 1.0)
