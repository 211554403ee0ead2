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
from dataclasses import dataclass, replace
from typing import Any

import torch

from mwalimu.objectives.head import Head, matmul
from mwalimu.objectives.kernels import chunk_loss
from mwalimu.objectives.parts import Part
from mwalimu.objectives.targets import Target

CHUNK_BYTES = {"cpu": 64 << 20, "cuda": 512 << 20}
"""Of one chunk's logits in float32. A live or dense teacher has as much again."""
MIN_CHUNK = 16


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
        ValueError: a part needs a teacher and there is none, or its vocabulary is another.
    """
    if target is None and any(part.kind != "cross_entropy" for part in parts):
        raise ValueError("a divergence needs the teacher's target")
    job = _Job(head, labels_N, target, tuple(parts), scale, chunk or _chunk(head, hidden_NH))
    if torch.is_grad_enabled():
        weight, bias = (head.weight_VH, head.bias_V) if head else (None, None)
        loss, sums_P = _FusedLoss.apply(hidden_NH, weight, bias, job)  # type: ignore[no-untyped-call]
        return loss, sums_P
    loss, sums_P, _ = job.run(hidden_NH, _Wanted(False, False, False))
    return loss, sums_P


@dataclass(frozen=True, slots=True)
class _Wanted:
    hidden: bool
    weight: bool
    bias: bool


@dataclass(slots=True)
class _Gradients:
    hidden_NH: torch.Tensor | None = None
    weight_VH: torch.Tensor | None = None
    bias_V: torch.Tensor | None = None


class _FusedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: torch.Tensor,
        weight_VH: torch.Tensor | None,
        bias_V: torch.Tensor | None,
        job: _Job,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wanted = _Wanted(*ctx.needs_input_grad[:3])
        ctx.job, ctx.wanted = job, wanted
        ctx.save_for_backward(hidden_NH)
        loss, sums_P, ctx.gradients = job.run(hidden_NH, wanted)
        ctx.mark_non_differentiable(sums_P)
        return loss, sums_P

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[torch.Tensor | None, ...]:
        found, ctx.gradients = ctx.gradients, None
        if found is None:  # handed out before, under retain_graph
            found = ctx.job.run(*ctx.saved_tensors, ctx.wanted)[2]
        return *(
            _times(g, grads[0]) for g in (found.hidden_NH, found.weight_VH, found.bias_V)
        ), None


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
    chunk: int

    def run(
        self, hidden_NH: torch.Tensor, wanted: _Wanted
    ) -> tuple[torch.Tensor, torch.Tensor, _Gradients]:
        hidden_NH = hidden_NH.detach()
        head = self._head_for(hidden_NH)
        gradients = self._empty(hidden_NH, wanted)
        found = []
        with torch.no_grad(), torch.autocast(hidden_NH.device.type, enabled=False):
            for start in range(0, len(hidden_NH), self.chunk):
                rows = slice(start, start + self.chunk)
                found.append(self._one_chunk(hidden_NH[rows], head, rows, gradients))
        if not found:
            zero = hidden_NH.new_zeros(len(self.parts) + 1, dtype=torch.float32)
            return zero[0], zero[1:], gradients
        sums = torch.stack(found).sum(0)
        kind = torch.float64 if hidden_NH.dtype == torch.float64 else torch.float32
        return (self.scale * sums[0]).to(kind), sums[1:].to(kind), self._typed(gradients)

    def _one_chunk(
        self, hidden_CH: torch.Tensor, head: Head | None, rows: slice, gradients: _Gradients
    ) -> torch.Tensor:
        """[1 + P]: the weighted sum, and the parts' own."""
        logits_CV = head.logits(hidden_CH) if head else _as_logits(hidden_CH)
        target = None if self.target is None else self.target.rows(rows)
        capped_CV = logits_CV.clone() if head and head.soft_cap is not None else logits_CV
        parts = [part.rows(rows) for part in self.parts]
        values_PC = chunk_loss(logits_CV, self.labels_N[rows], target, parts, self.scale)
        if head:
            grad_CV = head.before_cap(logits_CV, capped_CV)
            _add_gradients(gradients, rows, grad_CV, hidden_CH, head)
        elif gradients.hidden_NH is not None:
            gradients.hidden_NH[rows] = logits_CV
        total = sum(
            (part.weight * v for part, v in zip(parts, values_PC, strict=True)), 0 * values_PC[0]
        )
        return torch.cat([total.sum()[None], values_PC.sum(1)])

    def _head_for(self, hidden_NH: torch.Tensor) -> Head | None:
        """The weight in the type of the states, cast once and not once a chunk."""
        head = self.head
        if head is None:
            return None
        return replace(
            head,
            weight_VH=head.weight_VH.detach().to(hidden_NH.dtype),
            bias_V=None if head.bias_V is None else head.bias_V.detach(),
        )

    def _empty(self, hidden_NH: torch.Tensor, wanted: _Wanted) -> _Gradients:
        head = self.head
        kind = torch.float64 if hidden_NH.dtype == torch.float64 else torch.float32
        hidden = torch.empty_like(hidden_NH) if wanted.hidden else None
        weight = bias = None
        if head and wanted.weight:
            weight = torch.zeros_like(head.weight_VH, dtype=kind)
        if head and head.bias_V is not None and wanted.bias:
            bias = torch.zeros_like(head.bias_V, dtype=kind)
        return _Gradients(hidden, weight, bias)

    def _typed(self, gradients: _Gradients) -> _Gradients:
        """A gradient has its parameter's type; the sums were formed in float32."""
        if self.head and gradients.weight_VH is not None:
            gradients.weight_VH = gradients.weight_VH.to(self.head.weight_VH.dtype)
        if self.head and gradients.bias_V is not None and self.head.bias_V is not None:
            gradients.bias_V = gradients.bias_V.to(self.head.bias_V.dtype)
        return gradients


def _add_gradients(
    gradients: _Gradients, rows: slice, grad_CV: torch.Tensor, hidden_CH: torch.Tensor, head: Head
) -> None:
    """The gradient of the states is written, those of weight and bias are added to."""
    width = slice(0, grad_CV.shape[1])
    if gradients.bias_V is not None:
        gradients.bias_V[width] += grad_CV.sum(0)
    low_CV = grad_CV.to(hidden_CH.dtype)
    if gradients.hidden_NH is not None:
        gradients.hidden_NH[rows] = matmul(low_CV, head.weight_VH[width]).to(hidden_CH.dtype)
    if gradients.weight_VH is not None:
        if low_CV.dtype == gradients.weight_VH.dtype:
            gradients.weight_VH[width].addmm_(low_CV.t(), hidden_CH)
        else:
            gradients.weight_VH[width] += matmul(low_CV.t(), hidden_CH)


def _as_logits(logits_CV: torch.Tensor) -> torch.Tensor:
    """A copy to work in, in float32 unless they are float64."""
    kind = torch.float64 if logits_CV.dtype == torch.float64 else torch.float32
    return logits_CV.to(kind, copy=True)


def _chunk(head: Head | None, hidden_NH: torch.Tensor) -> int:
    width = (head.vocabulary or head.weight_VH.shape[0]) if head else hidden_NH.shape[1]
    budget = CHUNK_BYTES.get(hidden_NH.device.type, CHUNK_BYTES["cpu"])
    return max(MIN_CHUNK, budget // (4 * width))
