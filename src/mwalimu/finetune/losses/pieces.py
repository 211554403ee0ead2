"""Losses for a teacher whose tokens are others: on pieces of text that both spell.

Shapes: N target tokens, M pieces that begin together.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from mwalimu.config import PartConfig
from mwalimu.data.collate import Batch
from mwalimu.finetune.losses.base import Moment, Share
from mwalimu.finetune.teacher.view import TeacherView
from mwalimu.objectives.cross_tokenizer import chunk_likelihood_loss
from mwalimu.objectives.forward import States
from mwalimu.objectives.optimal_transport import optimal_transport_sum
from mwalimu.objectives.schedules import number
from mwalimu.objectives.token_logprobs import token_logprobs


class ChunkLoss:
    """How likely each piece of the answer is to the student, against the teacher (ALM)."""

    trained: torch.nn.Module | None = None

    def __init__(self, part: PartConfig, name: str) -> None:
        self.part = part
        self.name = name

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
        assert view.chunks is not None
        logq_N = token_logprobs(states.hidden_NX, states.head, batch.labels_N)
        total = chunk_likelihood_loss(
            logq_N,
            view.chunks,
            temperature=number(self.part.temperature, moment.progress),
            rescale=self.part.square,
        )
        factor = moment.scale * number(self.part.weight, moment.progress)
        return Share(factor * total, {self.name: total.detach()})


class TransportLoss:
    """Sorted distributions where a common piece begins (ULD)."""

    trained: torch.nn.Module | None = None

    def __init__(self, part: PartConfig, name: str) -> None:
        self.part = part
        self.name = name

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
        assert view.starts is not None
        factor = moment.scale * number(self.part.weight, moment.progress)
        loss = optimal_transport_sum(
            states.hidden_NX.index_select(0, view.starts.tokens_M),
            states.head,
            view.starts.teacher.hidden_NX,
            view.starts.teacher.head,
            temperature=number(self.part.temperature, moment.progress),
            scale=factor,
        )
        return Share(loss, {self.name: loss.detach() / factor if factor else loss.detach()})
