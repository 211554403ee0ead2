"""Losses on layers inside: hidden states and attention of pairs of a student's and a teacher's.

Both are means over their pairs, so that a weight means the same however many there are.

Shapes: N target tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from mwalimu.config import PartConfig
from mwalimu.data.collate import Batch
from mwalimu.data.loading import causal_lm_of
from mwalimu.finetune.losses.base import Moment, Share
from mwalimu.finetune.teacher.view import TeacherView
from mwalimu.objectives.attention import attention_loss
from mwalimu.objectives.attention_tap import AttentionTap
from mwalimu.objectives.features import Projections, feature_loss
from mwalimu.objectives.forward import States
from mwalimu.objectives.layers import HiddenTap, LayerPair
from mwalimu.objectives.schedules import number


class HiddenLoss:
    """The student's states, projected where the sizes differ, against the teacher's."""

    def __init__(
        self, part: PartConfig, name: str, model: Any, teacher_size: int, *, seed: int
    ) -> None:
        self.part = part
        self.name = name
        self.pairs = layer_pairs(part)
        self._tap = HiddenTap(model, [pair.student for pair in self.pairs])
        size = causal_lm_of(model).config.get_text_config().hidden_size
        self.projections = Projections(self.pairs, size, teacher_size, seed=seed)
        self.projections.to(model.device)
        self.trained: torch.nn.Module | None = self.projections

    def tap(self, batch: Batch) -> AbstractContextManager[Mapping[int, Any]]:
        return self._tap.at(batch.positions_N)

    def __call__(
        self,
        states: States,
        tapped: Mapping[int, Any],
        batch: Batch,
        view: TeacherView,
        moment: Moment,
    ) -> Share:
        scale = moment.scale * number(self.part.weight, moment.progress) / len(self.pairs)
        states_NH = [tapped[pair.student] for pair in self.pairs]
        if view.hidden_at is not None:
            states_NH = [state_NH.index_select(0, view.hidden_at) for state_NH in states_NH]
        loss, sums_P = feature_loss(
            [self.projections(s, pair) for s, pair in zip(states_NH, self.pairs, strict=True)],
            [view.hidden[pair.teacher] for pair in self.pairs],
            "cosine" if self.part.distance == "cosine" else "mse",
            scale,
            normalise=True,
        )
        return Share(loss, {self.name: sums_P.mean()})


class AttentionLoss:
    """Where the student looks against where the teacher looks, both averaged over heads."""

    trained: torch.nn.Module | None = None

    def __init__(self, part: PartConfig, name: str, model: Any) -> None:
        self.part = part
        self.name = name
        self.pairs = layer_pairs(part)
        self._tap = AttentionTap(model, [pair.student for pair in self.pairs])

    def tap(self, batch: Batch) -> AbstractContextManager[Mapping[int, Any]]:
        return self._tap.at(batch.positions_N)

    def __call__(
        self,
        states: States,
        tapped: Mapping[int, Any],
        batch: Batch,
        view: TeacherView,
        moment: Moment,
    ) -> Share:
        scale = moment.scale * number(self.part.weight, moment.progress) / len(self.pairs)
        loss, sums_P = attention_loss(
            [tapped[pair.student] for pair in self.pairs],
            [view.attention[pair.teacher] for pair in self.pairs],
            batch.places_N,
            "mse" if self.part.distance == "mse" else "kl",
            scale,
        )
        return Share(loss, {self.name: sums_P.mean()})


def layer_pairs(part: PartConfig) -> tuple[LayerPair, ...]:
    """Written out when the objective was chosen; "uniform" needs both models' depths."""
    if isinstance(part.layers, str):
        raise ValueError(f"the layer map {part.layers} has not been written out")
    return tuple(LayerPair(*pair) for pair in part.layers)
