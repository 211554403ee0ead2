"""Head and loss in one autograd function: the logits of a batch never exist together.

The tokens are taken a chunk at a time: one projection to logits, the loss and its gradient in their
place, and two products for the gradients of the states and of the head's weight. That is 3 units of
head work (2 with a frozen head), what a cross-entropy costs; recomputing the logits in the backward
pass would cost a fourth. The gradients are finished in the forward pass, so backward is one
multiplication. Sums over chunks are in float32 whatever the model's type, since half-precision
sums over thousands of tokens lose the small ones.

Shapes: N target tokens, C tokens of a chunk, V vocabulary, H hidden, P parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from mwalimu.objectives.head import Head
from mwalimu.objectives.head_gradients import HeadGradients, chunks, logits_of, width_of
from mwalimu.objectives.kernels import chunk_loss
from mwalimu.objectives.parts import CROSS_ENTROPY, Part
from mwalimu.objectives.targets import DenseTarget, LiveTarget, SampledTarget, Target


def fused_loss(
    hidden_NH: torch.Tensor,
    head: Head | None,
    labels_N: torch.Tensor,
    target: Target | None,
    parts: Sequence[Part],
    scale: float = 1.0,
    *,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(loss, sums): loss = scale * sum over tokens and parts of weight * value, with gradient.

    `sums` are the values of the parts, [P], summed over the tokens without weights, in nats. With
    `scale` = 1 / (target tokens of the whole optimiser step) the loss is this batch's share of the
    mean: it is handed in, rather than divided by afterwards, so that nothing of the size of the
    head's weight has to be gone through again. Without a head the states are logits already.

    Raises:
        ValueError: a part needs a teacher and there is none, or one that says more than draws do,
            or the teacher has more tokens than the student.
    """
    _refuse_what_does_not_fit(target, {part.kind for part in parts}, width_of(head, hidden_NH))
    job = _Job(head, labels_N, target, tuple(parts), scale, chunk)
    if torch.is_grad_enabled():
        weight, bias = (head.weight_VH, head.bias_V) if head else (None, None)
        loss, sums_P = _FusedLoss.apply(hidden_NH, weight, bias, job)  # type: ignore[no-untyped-call]
        return loss, sums_P
    loss, sums_P, _ = job.run(hidden_NH, (False, False, False))
    return loss, sums_P


def _refuse_what_does_not_fit(target: Target | None, kinds: set[str], width: int) -> None:
    divergences = kinds - {CROSS_ENTROPY}
    if target is None and divergences:
        raise ValueError("a divergence needs the teacher's target")
    if isinstance(target, SampledTarget) and divergences - {"forward_kl"}:
        raise ValueError("draws give the forward KL alone: the others are not linear in p")
    columns = 0
    if isinstance(target, DenseTarget):
        columns = target.logp_NV.shape[1]
    elif isinstance(target, LiveTarget):
        columns = width_of(target.head, target.hidden_NH)
    if columns > width:
        raise ValueError(f"the teacher has {columns} tokens and the student {width}")


class _FusedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: torch.Tensor,
        weight_VH: torch.Tensor | None,
        bias_V: torch.Tensor | None,
        job: _Job,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.job, ctx.wanted = job, ctx.needs_input_grad[:3]
        # All of them, so that one changed in place before a second backward pass is noticed.
        ctx.save_for_backward(hidden_NH, weight_VH, bias_V)
        loss, sums_P, ctx.gradients = job.run(hidden_NH, ctx.wanted)
        ctx.mark_non_differentiable(sums_P)
        return loss, sums_P

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[torch.Tensor | None, ...]:
        found, ctx.gradients = ctx.gradients, None
        if found is None:  # handed out before, under retain_graph
            found = ctx.job.run(ctx.saved_tensors[0], ctx.wanted)[2]
        return *(_times(gradient, grads[0]) for gradient in found), None


Gradients = tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]


def _times(gradient: torch.Tensor | None, factor: torch.Tensor) -> torch.Tensor | None:
    """In place. Reading the factor costs nothing on a CPU, and a synchronisation on a card."""
    if gradient is None or (factor.device.type == "cpu" and factor.item() == 1.0):
        return gradient
    return gradient.mul_(factor.to(gradient.dtype))


@dataclass(slots=True)
class _Job:
    head: Head | None
    labels_N: torch.Tensor
    target: Target | None
    parts: tuple[Part, ...]
    scale: float
    chunk: int | None

    def run(
        self, hidden_NH: torch.Tensor, wanted: Sequence[bool]
    ) -> tuple[torch.Tensor, torch.Tensor, Gradients]:
        """(loss, sums of the parts, gradients of states, weight and bias)."""
        hidden_NH = hidden_NH.detach()
        kind = torch.float64 if hidden_NH.dtype == torch.float64 else torch.float32
        width = width_of(self.head, hidden_NH)
        found = [hidden_NH.new_zeros(1 + len(self.parts), dtype=kind)]
        with torch.no_grad(), torch.autocast(hidden_NH.device.type, enabled=False):
            gradients = HeadGradients.of(self.head, hidden_NH, wanted)
            for rows in chunks(len(hidden_NH), width, hidden_NH.device, self.chunk):
                found.append(self._one_chunk(hidden_NH[rows], rows, gradients))
            sums = torch.stack([values.to(found[-1].dtype) for values in found]).sum(0)
        return (self.scale * sums[0]).to(kind), sums[1:].to(kind), gradients.finished()

    def _one_chunk(
        self, hidden_CH: torch.Tensor, rows: slice, gradients: HeadGradients
    ) -> torch.Tensor:
        """[1 + P]: the weighted sum, and the parts' own."""
        head = gradients.head
        logits_CV = logits_of(head, hidden_CH)
        capped_CV = logits_CV.clone() if head and head.soft_cap is not None else logits_CV
        target = None if self.target is None else self.target.rows(rows)
        parts = [part.rows(rows) for part in self.parts]
        values_PC = chunk_loss(logits_CV, self.labels_N[rows], target, parts, self.scale)
        gradients.add(rows, logits_CV, hidden_CH=hidden_CH, logits_CV=capped_CV)
        weighted = [part.weight * v for part, v in zip(parts, values_PC, strict=True)]
        return torch.cat([torch.stack(weighted).sum()[None], values_PC.sum(1)])
