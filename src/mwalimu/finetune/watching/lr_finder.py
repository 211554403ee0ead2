"""The learning-rate range test (Smith 2017, arXiv 1506.01186, section 3.3) on a job's own rows.

The rate grows from step to step until the loss runs away. Where the loss is lowest a step is nearly
too long already: a tenth of that rate is the usual choice (Howard and Gugger, fastai).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import Any

from mwalimu.errors import NonFiniteLoss
from mwalimu.finetune.exact import kept_random_state, seed_all
from mwalimu.finetune.memory import memory_errors
from mwalimu.finetune.trainer import Trainer

LOWEST, HIGHEST, STEPS = 1e-7, 1.0, 100
SMOOTHING = 0.9  # of the running mean, without the bias of its start (Adam's correction)
RAN_AWAY = 4.0  # times the lowest loss: the test ends there
MARGIN = 10.0
FELL = 0.02  # a loss that fell by less than this share did not fall


@dataclass(frozen=True, slots=True)
class Found:
    """`losses` (nats per target token) are smoothed; `suggestion` is None if none ever fell."""

    rates: list[float]
    losses: list[float]
    suggestion: float | None
    ran_away: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"in_words": self.in_words}

    @property
    def in_words(self) -> str:
        lowest, last = min(self.losses), self.losses[-1]
        at, end = self.rates[self.losses.index(lowest)], self.rates[-1]
        if self.suggestion is None:
            return (
                f"the loss never falls: it is {self.losses[0]:.4g} at a rate of "
                f"{self.rates[0]:.1e} and {last:.4g} at {end:.1e}; either the student knows these "
                "rows, or what is trained has no part in the loss"
            )
        then = f"{'runs away' if self.ran_away else 'is ' + format(last, '.4g')} at {end:.1e}"
        return (
            f"the loss falls from {self.losses[0]:.4g} to {lowest:.4g} at a rate of {at:.1e} and "
            f"{then}; set finetune.learning_rate to {self.suggestion:.1e}"
        )


def range_test(trainer: Trainer, steps: int = STEPS) -> Found:
    """On a trainer that has not begun; weights, optimiser and generators are then as they were.

    Raises:
        OutOfMemory: says what to change.
    """
    growth = (HIGHEST / LOWEST) ** (1 / (steps - 1))
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    ran_away = False
    guard = memory_errors(trainer.model, trainer.job.settings, trainer.lengths)
    with guard, kept_random_state(), trainer.snapshot.untouched():
        seed_all(trainer.job.seed)
        trainer.model.train()
        for step, batches in zip(range(steps), cycle(trainer.epoch_steps()), strict=False):
            rate = LOWEST * growth**step
            try:
                loss = trainer.update(trainer.ready(batches), rate).loss
            except NonFiniteLoss:
                ran_away = True
                break
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            rates.append(rate)
            losses.append(mean / (1 - SMOOTHING ** (step + 1)))
            trainer.report(step + 1, steps, f"rate {rate:.1e} loss {losses[-1]:.3f}")
            ran_away = losses[-1] > RAN_AWAY * min(losses)
            if ran_away:
                break
    return Found(rates, losses, _suggestion(rates, losses), ran_away)


def _suggestion(rates: list[float], losses: list[float]) -> float | None:
    """Two digits: more would be noise."""
    lowest = min(losses)
    if lowest > losses[0] * (1 - FELL):
        return None
    rate = rates[losses.index(lowest)] / MARGIN
    digits = 1 - math.floor(math.log10(rate))
    return round(rate, digits)
