"""What a batch is taught with: the losses of the objective over one forward pass of the student."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

import torch

from mwalimu.config import PartConfig
from mwalimu.data.collate import Batch
from mwalimu.finetune.losses.base import Loss, Moment
from mwalimu.finetune.losses.vocabulary import KINDS, VocabularyLoss
from mwalimu.finetune.parallel.strategy import ONE_PROCESS, Strategy
from mwalimu.finetune.teacher.view import TeacherSource, TeacherView
from mwalimu.objectives.base import Term
from mwalimu.objectives.forward import Forward
from mwalimu.objectives.packing import Packing
from mwalimu.objectives.parts import CROSS_ENTROPY

TEXT_ALONE = (PartConfig(kind="cross_entropy"),)
"""Sequence-level distillation (Kim and Rush 2016): the teacher's answers as labels."""


class Teaching:
    """The objective, bound to a student and to what its teacher says; one call a micro-batch."""

    def __init__(
        self,
        model: Any,
        parts: Sequence[PartConfig] = TEXT_ALONE,
        source: TeacherSource | None = None,
        *,
        autocast: bool = False,
        packings: Sequence[Packing] = (),
        seed: int = 0,
    ) -> None:
        whole_rows = any(part.kind == "attention" for part in parts)
        taken = () if whole_rows else packings
        self.forward = Forward(model, autocast=autocast, packings=taken)
        if packings and whole_rows:
            self.forward.why_padded = "attention transfer compares maps of whole rows"
        self.source = source
        self.losses = build_losses(model, parts, source, seed)
        self.as_text = next(
            (
                name
                for part, name in zip(parts, _names(parts), strict=True)
                if part.kind == CROSS_ENTROPY and part.temperature == 1.0
            ),
            None,
        )
        own = [loss.trained for loss in self.losses if loss.trained is not None]
        self.trained = torch.nn.ModuleList(own)

    def __call__(
        self, batch: Batch, scale: float, progress: float, view: TeacherView | None = None
    ) -> Term:
        """The term of `batch`; `scale` is 1 / target tokens of the step, `progress` from 0 to 1.

        `view` is the teacher's of this batch, where it has been looked at before.
        """
        if view is None:
            view = self.source.look(batch) if self.source else TeacherView()
        with ExitStack() as taps:
            tapped = [taps.enter_context(loss.tap(batch)) for loss in self.losses]
            states = self.forward(batch.ids_BT, batch.positions_N, batch.layout)
        moment = Moment(scale, progress)
        shares = [
            loss(states, found, batch, view, moment)
            for loss, found in zip(self.losses, tapped, strict=True)
        ]
        total = shares[0].loss
        for share in shares[1:]:
            total = total + share.loss
        sums = {name: value for share in shares for name, value in share.sums.items()}
        return Term(total, sums, batch.labels_N.numel())

    def answer_nats(self, batch: Batch, term: Term) -> torch.Tensor:
        """What the answers of `batch` cost the student: the sum of -ln p over their tokens.

        Unlike the objective's own value, in `term`, it compares students however they are taught.
        It is a part's already where the answers are learned as text, else one more pass.
        """
        if self.as_text is not None:
            return term.sums[self.as_text]
        states = self.forward(batch.ids_BT, batch.positions_N, batch.layout)
        text = VocabularyLoss(TEXT_ALONE, (CROSS_ENTROPY,))
        return text(states, {}, batch, TeacherView(), Moment(1.0, 1.0)).sums[CROSS_ENTROPY]


def build_losses(
    model: Any, parts: Sequence[PartConfig], source: TeacherSource | None, seed: int
) -> list[Loss]:
    """Those over the vocabulary together, the others one by one."""
    named = list(zip(parts, _names(parts), strict=True))
    losses: list[Loss] = []
    if vocabulary := [(part, name) for part, name in named if part.kind in KINDS]:
        losses.append(VocabularyLoss(*map(list, zip(*vocabulary, strict=True))))
    for part, name in named:
        if part.kind not in KINDS:
            losses.append(_build(part, name, model, source, seed))
    return losses


def _build(
    part: PartConfig, name: str, model: Any, source: TeacherSource | None, seed: int
) -> Loss:
    if part.kind in ("hidden", "attention"):
        from mwalimu.finetune.losses.layers import AttentionLoss, HiddenLoss

        if part.kind == "attention":
            return AttentionLoss(part, name, model)
        assert source is not None
        return HiddenLoss(part, name, model, source.hidden_size, seed=seed)
    from mwalimu.finetune.losses.pieces import ChunkLoss, TransportLoss

    if part.kind == "chunk_likelihood":
        return ChunkLoss(part, name)
    return TransportLoss(part, name)


class Taken(NamedTuple):
    """Of one optimiser step: its loss, the parts' sums, and how many tokens each sum is over.

    What is a tensor stays on the device: reading it is the caller's one synchronisation.
    """

    loss: torch.Tensor
    sums: dict[str, torch.Tensor]
    tokens: dict[str, int]


def accumulate(
    teaching: Teaching,
    batches: Sequence[Batch],
    progress: float = 0.0,
    views: Sequence[TeacherView | None] = (),
    *,
    num_tokens: int | None = None,
    strategy: Strategy = ONE_PROCESS,
) -> Taken:
    """Adds the gradient of the mean over all target tokens of the step.

    They are those of `batches`, or `num_tokens` where other processes have batches too.
    """
    num_tokens = num_tokens or count_tokens(batches)
    losses: list[torch.Tensor] = []
    sums: dict[str, torch.Tensor] = {}
    tokens: dict[str, int] = {}
    for batch, view in zip_longest(batches, views):
        scale = 1 / num_tokens if batch.counts else 0.0
        term = strategy.run(partial(teaching, batch, scale, progress, view))
        strategy.backward(term.loss, last=batch is batches[-1])
        losses.append(term.loss.detach())
        if not batch.counts:
            continue
        for name, value in term.sums.items():
            sums[name] = sums[name] + value if name in sums else value
            tokens[name] = tokens.get(name, 0) + term.num_tokens
    return Taken(torch.stack(losses).sum(), sums, tokens)


def count_tokens(batches: Sequence[Batch]) -> int:
    """Target tokens."""
    return sum(batch.labels_N.numel() for batch in batches if batch.counts)


def _names(parts: Sequence[PartConfig]) -> tuple[str, ...]:
    """The kinds; the second of a kind is kind-2."""
    seen: dict[str, int] = {}
    names = []
    for part in parts:
        seen[part.kind] = seen.get(part.kind, 0) + 1
        names.append(part.kind if seen[part.kind] == 1 else f"{part.kind}-{seen[part.kind]}")
    return tuple(names)
