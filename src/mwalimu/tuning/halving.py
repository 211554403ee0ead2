"""Which trials end early: asynchronous successive halving, as a function of what is written down.

Nothing is remembered beside what trials were told at their steps, so a decision that a crash kept
from being written is made again, and is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

EPOCH = 100
"""Steps that an epoch is: they are whole numbers."""
Told = Mapping[int, float]
"""Step -> value of a trial; the larger is the better."""


def is_behind(told: Told, others: Sequence[Told], step: int, *, reduction: int) -> bool:
    """Whether a trial ends at `step`, which it has just been told of.

    ASHA (Li et al. 2020, algorithm 2) with rungs at 1, r, r^2, ... epochs: the first step at or
    after a rung decides there, and one in r of the trials that have been on the rung goes on, the
    best always.
    """
    rung = EPOCH
    while rung * reduction <= step:
        rung *= reduction
    if step < rung or step != _arrival(told, rung):
        return False
    known = [value for other in others if (value := _value(other, rung)) is not None]
    better = sum(value > told[step] for value in known)
    return better >= max(1, (len(known) + 1) // reduction)


def _arrival(told: Told, rung: int) -> int | None:
    return min((step for step in told if step >= rung), default=None)


def _value(told: Told, rung: int) -> float | None:
    step = _arrival(told, rung)
    return None if step is None else told[step]
