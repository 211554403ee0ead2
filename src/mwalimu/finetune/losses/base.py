"""What a loss is to the step: what it taps while the student runs, and its share of the term."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import torch

from mwalimu.data.collate import Batch
from mwalimu.finetune.teacher.view import TeacherView
from mwalimu.objectives.forward import States


class Moment(NamedTuple):
    """`scale` is 1 / target tokens of the optimiser step; `progress` goes from 0 to 1."""

    scale: float
    progress: float


class Share(NamedTuple):
    """`loss` carries the gradient and has been multiplied by weight and scale; `sums` have not."""

    loss: torch.Tensor
    sums: dict[str, torch.Tensor]


class Loss(Protocol):
    """`trained` are parameters of its own that learn beside the student, and end with training."""

    trained: torch.nn.Module | None

    def tap(self, batch: Batch) -> AbstractContextManager[Mapping[int, Any]]:
        """Open while the student runs; what it collects comes back in `__call__`."""

    def __call__(
        self,
        states: States,
        tapped: Mapping[int, Any],
        batch: Batch,
        view: TeacherView,
        moment: Moment,
    ) -> Share: ...
