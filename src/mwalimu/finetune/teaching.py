"""What a batch is taught with: the parts of the objective over one forward pass of the student.

Shapes: B rows, T tokens, N target tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from mwalimu.config import DIVERGENCES, PartConfig
from mwalimu.finetune.batches import Batch
from mwalimu.finetune.forward import Forward, States
from mwalimu.objectives.base import Term
from mwalimu.objectives.fused import fused_loss
from mwalimu.objectives.parts import CROSS_ENTROPY, Part
from mwalimu.objectives.schedules import amount, confidence, goes_by_row
from mwalimu.objectives.targets import Target

VOCABULARY_KINDS = (CROSS_ENTROPY, *DIVERGENCES)
TEXT_ALONE = (PartConfig(kind="cross_entropy"),)
"""Sequence-level distillation (Kim and Rush 2016): the teacher's answers as labels."""


class TeacherSource(Protocol):
    """Where the teacher's distribution over a batch's target tokens comes from."""

    def target(self, batch: Batch) -> Target:
        """In the order of `batch.labels_N`."""


class Teaching:
    """The objective, bound to a student and to a teacher's signals; one call a micro-batch."""

    def __init__(
        self,
        model: Any,
        parts: Sequence[PartConfig] = TEXT_ALONE,
        source: TeacherSource | None = None,
        *,
        autocast: bool = False,
    ) -> None:
        self.forward = Forward(model, autocast=autocast)
        self.parts = tuple(parts)
        self.source = source
        self.vocabulary = [part for part in self.parts if part.kind in VOCABULARY_KINDS]
        self.needs_target = any(part.kind in DIVERGENCES for part in parts)
        self.names = _names(self.vocabulary)

    def __call__(self, batch: Batch, scale: float, progress: float) -> Term:
        """The term of `batch`; `scale` is 1 / target tokens of the step, `progress` from 0 to 1."""
        target = self.source.target(batch) if self.needs_target and self.source else None
        states = self.forward(batch.ids_BT, batch.positions_N)
        return self._vocabulary_term(states, batch, target, scale, progress)

    def _vocabulary_term(
        self, states: States, batch: Batch, target: Target | None, scale: float, progress: float
    ) -> Term:
        parts = self._parts_now(batch, target, progress)
        loss, sums_P = fused_loss(
            states.hidden_NX, states.head, batch.labels_N, target, parts, scale
        )
        sums = dict(zip(self.names, sums_P, strict=True))
        return Term(loss, sums, batch.labels_N.numel())

    def _parts_now(self, batch: Batch, target: Target | None, progress: float) -> list[Part]:
        sure_N = None
        if any(goes_by_row(a) for part in self.vocabulary for a in (part.weight, part.temperature)):
            assert target is not None
            sure_N = confidence(target, batch.labels_N, batch.sizes_B)
        known: dict[Any, Any] = {}  # equal schedules are one tensor, and so share a softmax
        return [
            Part(
                part.kind,
                amount(part.weight, progress, sure_N),
                known.setdefault(part.temperature, amount(part.temperature, progress, sure_N)),
                part.parameter,
                part.square,
            )
            for part in self.vocabulary
        ]


def accumulate(
    teaching: Teaching, batches: Sequence[Batch], progress: float = 0.0
) -> dict[str, torch.Tensor]:
    """Adds the gradient of the mean over all target tokens of `batches`.

    Returns the loss of the step and the parts' sums by name; they stay on the device, so that
    reading them is the caller's one synchronisation of the step.
    """
    num_tokens = sum(batch.labels_N.numel() for batch in batches)
    found: dict[str, torch.Tensor] = {}
    for batch in batches:
        term = teaching(batch, 1 / num_tokens, progress)
        term.loss.backward()  # type: ignore[no-untyped-call]
        for name, value in {"loss": term.loss.detach(), **term.sums}.items():
            found[name] = found[name] + value if name in found else value
    return found


def _names(parts: Sequence[PartConfig]) -> tuple[str, ...]:
    """The kinds; the second of a kind is kind-2."""
    seen: dict[str, int] = {}
    names = []
    for part in parts:
        seen[part.kind] = seen.get(part.kind, 0) + 1
        names.append(part.kind if seen[part.kind] == 1 else f"{part.kind}-{seen[part.kind]}")
    return tuple(names)
