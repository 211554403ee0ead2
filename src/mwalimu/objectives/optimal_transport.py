"""Optimal transport between distributions over two vocabularies: only their shapes are compared.

Paper: Boizard et al. 2024, "Towards Cross-Tokenizer Distillation: the Universal Logit Distillation
Loss for LLMs" (ULD, arXiv 2402.12030). With a uniform cost between any two tokens, the Wasserstein
distance has a closed form: sort both distributions, the shorter one filled up with zeros,

    sum over i of |p_(i) - q_(i)|,  p_(1) >= p_(2) >= ...

p is the teacher's, q the student's. Its unit is probability, 0 to 2 a position, and not nats; the
paper adds it, times 1.5, to the cross-entropy.

Which positions belong together is the caller's choice. The paper pairs them by index, so that
after the first difference in tokenization the two predict at different places of the text. Here
it should be the first token of each chunk (`data.byte_spans.chunk_starts`): only there have both
models read the same text, so that both distributions are of the same continuation.

Shapes: M pairs of positions, C of a chunk, V and U the student's and the teacher's vocabularies,
H and G their hidden sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mwalimu.objectives.head import Head
from mwalimu.objectives.head_gradients import (
    HeadGradients,
    chunks,
    logits_of,
    width_of,
    working,
)

BUFFERS = 6
"""Numbers a token and a vocabulary entry, at most: logits, probabilities, sorted, their indices."""


def optimal_transport_sum(
    hidden_MH: torch.Tensor,
    head: Head | None,
    teacher_MG: torch.Tensor,
    teacher_head: Head | None,
    *,
    temperature: float = 1.0,
    scale: float = 1.0,
) -> torch.Tensor:
    """scale * sum over the pairs of the distance; a scalar whose gradient goes to the student.

    `temperature` divides both logits; nothing is multiplied by it afterwards. Without a head the
    states are logits already. The gradient is formed in the forward pass, in one projection.
    """
    work = _Work(head, teacher_MG.detach(), teacher_head, temperature, scale)
    if not torch.is_grad_enabled():
        return work.run(hidden_MH, (False, False, False))[0]
    weight, bias = (head.weight_VH, head.bias_V) if head else (None, None)
    loss: torch.Tensor = _Transport.apply(hidden_MH, weight, bias, work)  # type: ignore[no-untyped-call]
    return loss


class _Transport(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_MH: torch.Tensor,
        weight_VH: torch.Tensor | None,
        bias_V: torch.Tensor | None,
        work: _Work,
    ) -> torch.Tensor:
        loss, found = work.run(hidden_MH, ctx.needs_input_grad[:3])
        ctx.save_for_backward(*found.finished())
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return *(None if g is None else g * grad.to(g.dtype) for g in ctx.saved_tensors), None


@dataclass(frozen=True, slots=True)
class _Work:
    head: Head | None
    teacher_MG: torch.Tensor
    teacher_head: Head | None
    temperature: float
    scale: float

    @torch.no_grad()
    def run(
        self, hidden_MH: torch.Tensor, wanted: Sequence[bool]
    ) -> tuple[torch.Tensor, HeadGradients]:
        found = HeadGradients.of(self.head, hidden_MH, wanted)
        theirs = self.teacher_head and working(self.teacher_head, self.teacher_MG)
        width = width_of(self.head, hidden_MH) + width_of(self.teacher_head, self.teacher_MG)
        kind = torch.float64 if hidden_MH.dtype == torch.float64 else torch.float32
        total = hidden_MH.new_zeros((), dtype=kind)
        with torch.autocast(hidden_MH.device.type, enabled=False):
            for rows in chunks(len(hidden_MH), BUFFERS * width, hidden_MH.device):
                logits_CV = logits_of(found.head, hidden_MH[rows])
                teacher_CU = logits_of(theirs, self.teacher_MG[rows])
                value_C, grad_CV = transport(
                    logits_CV / self.temperature, teacher_CU / self.temperature
                )
                total += value_C.sum()
                grad_CV *= self.scale / self.temperature
                found.add(rows, grad_CV, hidden_CH=hidden_MH[rows], logits_CV=logits_CV)
        return total * self.scale, found


def transport(
    logits_CV: torch.Tensor, teacher_CU: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(distance of each pair, its gradient by the student's logits).

    The distance's gradient by the k-th largest q is the sign of its difference, g; by the logits it
    is q * (g - sum of q * g). Where two are equal, 0 of all their subgradients is taken.
    """
    q_CV, order_CV = logits_CV.softmax(1).sort(dim=1, descending=True)
    p_CU = teacher_CU.softmax(1).sort(dim=1, descending=True).values
    missing = q_CV.shape[1] - p_CU.shape[1]
    difference_CV = q_CV - functional.pad(p_CU, (0, missing))  # a negative pad cuts
    beyond_C = p_CU[:, q_CV.shape[1] :].sum(1)
    sign_CV = difference_CV.sign()
    value_C = difference_CV.abs_().sum(1) + beyond_C
    sorted_CV = q_CV * (sign_CV - (q_CV * sign_CV).sum(1, keepdim=True))
    return value_C, torch.empty_like(sorted_CV).scatter_(1, order_CV, sorted_CV)
