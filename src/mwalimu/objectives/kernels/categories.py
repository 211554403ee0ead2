"""What a loss of few categories makes of a token: labels, draws, best tokens and all others.

K numbers a token and not V, so it is done in float64 whatever made the sums over the vocabulary.
"Named" are the best tokens of a `SparseTarget`: categories of their own. The rest is all tokens but
those; where nothing is named, all tokens.

Shapes: C tokens, K entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from mwalimu.objectives.divergence import NO_MASS, divergence
from mwalimu.objectives.parts import CROSS_ENTROPY, Amount, Part
from mwalimu.objectives.targets import ChunkTarget, DenseTarget, SampledTarget, SparseTarget


class Found(NamedTuple):
    """Values of the parts, and the gradient: a multiple of the softmax over the rest, and what is
    added at the ids and at the label."""

    values: list[torch.Tensor]
    on_rest_C: torch.Tensor
    at_ids_CK: torch.Tensor
    at_label_C: torch.Tensor


def take_out(
    logits_CV: torch.Tensor, target: ChunkTarget | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, their logits), [C, K]; in place, the best tokens' logits become minus infinity."""
    if target is None or isinstance(target, DenseTarget):
        ids_CK = torch.empty(len(logits_CV), 0, dtype=torch.long, device=logits_CV.device)
        return ids_CK, ids_CK.to(logits_CV.dtype)
    ids_CK, known_CK = target.ids_NK, logits_CV.gather(1, target.ids_NK)
    if isinstance(target, SparseTarget):
        pads_CK = target.logp_NK == -torch.inf
        known_CK.masked_fill_(pads_CK, -torch.inf)
        # A pad may bear the id of a best token, whose minus infinity has to win.
        out_CK = torch.where(pads_CK, torch.inf, -torch.inf).to(logits_CV.dtype)
        logits_CV.scatter_reduce_(1, ids_CK, out_CK, "amin")
    return ids_CK, known_CK


def few_categories(
    known_CK: torch.Tensor,
    label_C: torch.Tensor,
    rest_C: torch.Tensor,
    target: ChunkTarget | None,
    group: Sequence[Part],
    scale: float,
) -> Found:
    """From logits that are divided by the temperature: of the ids, of the label, and the
    log-sum-exp of the rest. Pads among the best tokens are minus infinity."""
    named = target if isinstance(target, SparseTarget) else None
    lse_C = rest_C if named is None else rest_C.logaddexp(known_CK.logsumexp(1))
    logq_CK, logq_rest_C = known_CK - lse_C[:, None], rest_C - lse_C
    on_rest_C, at_label_C = torch.zeros_like(rest_C), torch.zeros_like(rest_C)
    at_ids_CK = torch.zeros_like(known_CK)
    values = []
    for part in group:
        factor = gradient_factor(part, scale)
        if part.kind == CROSS_ENTROPY:
            values.append(lse_C - label_C)
            on_rest_C += factor * logq_rest_C.exp()
            at_label_C -= factor
            if named is not None:
                at_ids_CK += column(factor) * logq_CK.exp()
        elif isinstance(target, SampledTarget):
            weight_CK = target.weight_NK.to(known_CK.dtype)
            values.append(-(weight_CK * logq_CK).sum(1))
            on_rest_C += factor * weight_CK.sum(1)  # 1, or 0 where nothing was drawn
            at_ids_CK -= column(factor) * weight_CK
        else:
            assert named is not None
            value_C, rest_grad_C, grad_CK = _with_tail(part, named, logq_CK, logq_rest_C)
            values.append(value_C)
            on_rest_C += factor * rest_grad_C
            at_ids_CK += column(factor) * grad_CK
    return Found(values, on_rest_C, at_ids_CK, at_label_C)


def _with_tail(
    part: Part, named: SparseTarget, logq_CK: torch.Tensor, logq_rest_C: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(value, gradient as a multiple of the softmax over the rest, gradient at the ids)."""
    logq = torch.cat([logq_CK, logq_rest_C[:, None]], 1).clamp(min=NO_MASS)
    logp = torch.cat([named.logp_NK, named.tail_N[:, None]], 1).to(logq).clamp(min=NO_MASS)
    value, q_g = divergence(part.kind, logp, logq, part.value_of_parameter or 0.0)
    grad = q_g - logq.exp() * q_g.sum(1, keepdim=True)
    return value.sum(1), grad[:, -1], grad[:, :-1]


def gradient_factor(part: Part, scale: float) -> Amount:
    """Of the gradient with respect to the logits: tau^2 of the square, 1/tau of the division."""
    tau = part.temperature
    return scale * part.weight * (tau if part.square else 1 / tau)


def squared(value_C: torch.Tensor, part: Part) -> torch.Tensor:
    tau = part.temperature
    return value_C * tau * tau if part.square else value_C


def column(amount: Amount) -> Amount:
    return amount[:, None] if isinstance(amount, torch.Tensor) else amount
