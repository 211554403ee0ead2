"""Cross-entropy and divergences over the vocabulary: all of them in one pass of the fused loss.

Shapes: N target tokens, P parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from mwalimu.config import DIVERGENCES, PartConfig, goes_by_row
from mwalimu.data.collate import Batch
from mwalimu.finetune.losses.base import Moment, Share
from mwalimu.finetune.teacher.view import TeacherView
from mwalimu.objectives.forward import States
from mwalimu.objectives.fused import fused_loss
from mwalimu.objectives.parts import CROSS_ENTROPY, Part
from mwalimu.objectives.schedules import amount, confidence
from mwalimu.objectives.targets import Target

KINDS = (CROSS_ENTROPY, *DIVERGENCES)


class VocabularyLoss:
    """`names` are what the sums of the parts are called, one a part."""

    trained: torch.nn.Module | None = None

    def __init__(self, parts: Sequence[PartConfig], names: Sequence[str]) -> None:
        self.parts = parts
        self.names = names
        amounts = [a for part in parts for a in (part.weight, part.temperature)]
        self.by_row = any(map(goes_by_row, amounts))

    def tap(self, batch: Batch) -> AbstractContextManager[Mapping[int, Any]]:
        return nullcontext({})

    def __call__(
        self,
        states: States,
        tapped: Mapping[int, Any],
        batch: Batch,
        view: TeacherView,
        moment: Moment,
    ) -> Share:
        parts = self._parts_now(batch, view.target, moment.progress)
        names = self.names
        if batch.on_policy:  # a student has nothing to imitate in its own answer
            taken = [i for i, part in enumerate(parts) if part.kind != CROSS_ENTROPY]
            parts, names = [parts[i] for i in taken], [names[i] for i in taken]
        loss, sums_P = fused_loss(
            states.hidden_NX, states.head, batch.labels_N, view.target, parts, moment.scale
        )
        return Share(loss, dict(zip(names, sums_P, strict=True)))

    def _parts_now(self, batch: Batch, target: Target | None, progress: float) -> list[Part]:
        sure_N = None
        if self.by_row and target is not None:
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
            for part in self.parts
        ]
