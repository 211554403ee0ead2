"""Early signs of a training that goes wrong, in words, each with what to do about it.

Everything here is a pure function of losses and norms, and what it remembers is part of the
checkpoint, so that a resumed run says the same at the same steps.
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

WINDOW = 50  # steps that a new one is compared with
ENOUGH = 20  # steps before anything is compared at all
AGAIN = 500  # steps before the same is said of losses or gradients again
NEWEST = 5  # steps in a row that have to be above all before: one odd batch is no sign
JUMP = 1.5  # of the loss, times the median before
GROWTH = 10.0  # of the gradient norm, likewise
FLAT_STEPS, FLAT = 100, 0.01  # steps after the warm-up; share by which the loss should have fallen
RISES = 3  # validations in a row
GAP_RATIO, GAP_NATS = 1.5, 0.1  # of validation loss over training loss


class Sign(NamedTuple):
    kind: str
    text: str


class Signs:
    """`memory` is filled and read back: plain JSON, empty for a new training."""

    def __init__(self, memory: dict[str, Any], *, warmup: int, total: int) -> None:
        self.memory = memory
        for name in ("losses", "norms", "first", "validations", "epochs"):
            memory.setdefault(name, [])
        memory.setdefault("told", {})
        self.settled = warmup + min(FLAT_STEPS, total // 2)

    def step(self, step: int, loss: float, grad_norm: float) -> list[Sign]:
        """After each optimiser step. Losses in nats a target token."""
        losses, norms, first = (self.memory[name] for name in ("losses", "norms", "first"))
        if len(first) < ENOUGH:
            first.append(loss)
        for window, value in ((losses, loss), (norms, grad_norm)):
            window.append(value)
            del window[: -WINDOW - NEWEST]
        found = [self._jump(step, losses), self._growth(step, norms)]
        if step == self.settled and step >= 2 * ENOUGH:
            found.append(self._flat(first, losses[-ENOUGH:]))
        return [sign for sign in found if sign]

    def validation(self, step: int, loss: float, *, best: int, train_loss: float) -> list[Sign]:
        """`best` is the step of the best validation, `train_loss` that of the epoch so far."""
        seen = self.memory["validations"]
        seen.append(loss)
        del seen[: -RISES - 1]
        rises = [later > earlier for earlier, later in pairwise(seen)]
        found = [self._gap(step, loss, train_loss)]
        if len(rises) == RISES and all(rises) and self._once("validation_rises", step):
            found.append(
                Sign(
                    "validation_rises",
                    f"validation loss has risen for {RISES} evaluations; best was step {best}, "
                    "which is what will be published; more rows, fewer finetune.epochs or a "
                    "lower finetune.learning_rate may help",
                )
            )
        return [sign for sign in found if sign]

    def epoch(self, epoch: int, step: int, loss: float) -> list[Sign]:
        """At the end of an epoch, with its mean loss."""
        seen = self.memory["epochs"]
        seen.append(loss)
        del seen[:-2]
        if len(seen) < 2 or loss < seen[0] or not self._once("no_progress", step):
            return []
        return [
            Sign(
                "no_progress",
                f"the loss of epoch {epoch} ({loss:.4g}) is no lower than that of the one before "
                f"({seen[0]:.4g}); lower finetune.learning_rate, or stop here",
            )
        ]

    def _jump(self, step: int, losses: list[float]) -> Sign | None:
        risen = _risen(losses, JUMP)
        if risen is None or not self._once("loss_jump", step, again=AGAIN):
            return None
        before, now = risen
        return Sign(
            "loss_jump",
            f"the loss has jumped to {now:.4g} by step {step}, above each of the steps before, "
            f"whose median is {before:.4g}; if it does not come down again, lower "
            "finetune.learning_rate or raise finetune.warmup_ratio",
        )

    def _growth(self, step: int, norms: list[float]) -> Sign | None:
        risen = _risen(norms, GROWTH)
        if risen is None or not self._once("gradients_grow", step, again=AGAIN):
            return None
        before, now = risen
        return Sign(
            "gradients_grow",
            f"gradient norms have grown from {before:.3g} to {now:.3g} by step {step}; lower "
            "finetune.learning_rate or finetune.max_grad_norm",
        )

    def _flat(self, first: list[float], last: list[float]) -> Sign | None:
        before, now = median(first), median(last)
        if now < before * (1 - FLAT) or not self._once("loss_flat", self.settled):
            return None
        return Sign(
            "loss_flat",
            f"the loss has not fallen in {self.settled} steps ({before:.4g} to {now:.4g}); either "
            "the student knows these rows, or finetune.learning_rate is too low or far too high: "
            "'mwalimu lr' finds one",
        )

    def _gap(self, step: int, loss: float, train_loss: float) -> Sign | None:
        if loss < GAP_RATIO * train_loss or loss - train_loss < GAP_NATS:
            return None
        if not self._once("over_fitting", step):
            return None
        return Sign(
            "over_fitting",
            f"the training loss ({train_loss:.3g}) is far under the validation loss ({loss:.3g}) "
            f"at step {step}: rows are learned by heart; more rows, fewer finetune.epochs or a "
            "smaller student.lora_rank help",
        )

    def _once(self, kind: str, step: int, *, again: float = math.inf) -> bool:
        """Whether `kind` may be said now; it counts as said then."""
        told: dict[str, int] = self.memory["told"]
        if kind in told and step - told[kind] < again:
            return False
        told[kind] = step
        return True


def _risen(window: list[float], times: float) -> tuple[float, float] | None:
    """The medians of the steps before and of the newest, where each of the newest is so many times
    that before, and more than any single step before: batches may differ by orders of magnitude."""
    before, newest = window[:-NEWEST], window[-NEWEST:]
    if len(before) < ENOUGH:
        return None
    middle = median(before)
    return (middle, median(newest)) if min(newest) > max(times * middle, *before) else None
