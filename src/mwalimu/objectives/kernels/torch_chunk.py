"""The loss of a chunk in torch operations: any device, and float64 for checks.

Shapes: C tokens, V vocabulary, K entries, P parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import pad

from mwalimu.objectives.divergence import NO_MASS, divergence
from mwalimu.objectives.parts import CROSS_ENTROPY, Amount, Part, by_temperature
from mwalimu.objectives.targets import ChunkTarget, DenseTarget, SampledTarget, SparseTarget


def chunk_loss(
    logits_CV: torch.Tensor,
    labels_C: torch.Tensor,
    target: ChunkTarget | None,
    parts: Sequence[Part],
    scale: float,
) -> torch.Tensor:
    """Values [P, C] of the parts, without their weights, with the square of the temperature.

    `logits_CV` becomes the gradient, with respect to it, of scale * sum of weight * value.
    """
    groups = by_temperature(parts)
    values: list[torch.Tensor] = [logits_CV] * len(parts)
    total_CV = torch.zeros_like(logits_CV) if len(groups) > 1 else logits_CV
    for members in groups:
        group = [parts[index] for index in members]
        # A group alone works on the logits themselves.
        buffer_CV = logits_CV.clone() if len(groups) > 1 else logits_CV
        _divide(buffer_CV, group[0].temperature)
        for index, value_C in zip(
            members, _group_loss(buffer_CV, labels_C, target, group, scale), strict=True
        ):
            values[index] = value_C
        if buffer_CV is not total_CV:
            total_CV += buffer_CV
    if total_CV is not logits_CV:
        logits_CV.copy_(total_CV)
    return torch.stack(values)


def _group_loss(
    buffer_CV: torch.Tensor,
    labels_C: torch.Tensor,
    target: ChunkTarget | None,
    group: Sequence[Part],
    scale: float,
) -> list[torch.Tensor]:
    if isinstance(target, DenseTarget) and any(part.kind != CROSS_ENTROPY for part in group):
        values = _dense(buffer_CV, labels_C, target, group, scale)
    else:
        values = _sparse(buffer_CV, labels_C, target, group, scale)
    return [_squared(value_C, part) for value_C, part in zip(values, group, strict=True)]


def _sparse(
    buffer_CV: torch.Tensor,
    labels_C: torch.Tensor,
    target: ChunkTarget | None,
    group: Sequence[Part],
    scale: float,
) -> list[torch.Tensor]:
    """For labels, draws, and the best tokens with a tail.

    The gradient is a multiple of the softmax but at a few ids. The best tokens are taken out of the
    buffer before it is summed: so the log of the student's own tail is exact, where 1 - sum q would
    be nothing but rounding once the student is sure.
    """
    wide, labels_C1 = _wide(buffer_CV), labels_C[:, None]
    label_C = buffer_CV.gather(1, labels_C1)[:, 0].to(wide)
    ids_CK = (
        labels_C1[:, :0] if target is None or isinstance(target, DenseTarget) else target.ids_NK
    )
    known_CK = buffer_CV.gather(1, ids_CK).to(wide)
    named = target if isinstance(target, SparseTarget) else None
    if named is not None:
        pads_CK = named.logp_NK == -torch.inf
        known_CK.masked_fill_(pads_CK, -torch.inf)
        out_CK = torch.where(pads_CK, torch.inf, -torch.inf).to(buffer_CV.dtype)
        buffer_CV.scatter_reduce_(1, ids_CK, out_CK, "amin")
    rest_C, mass_C = _softmax_(buffer_CV)
    rest_C = rest_C.to(wide)
    lse_C = rest_C if named is None else rest_C.logaddexp(known_CK.logsumexp(1))
    logq_CK, logq_rest_C = known_CK - lse_C[:, None], rest_C - lse_C
    on_rest_C, at_label_C = torch.zeros_like(rest_C), torch.zeros_like(rest_C)
    at_ids_CK = torch.zeros_like(known_CK)
    values = []
    for part in group:
        factor = _factor(part, scale)
        if part.kind == CROSS_ENTROPY:
            values.append(lse_C - label_C)
            on_rest_C += factor * logq_rest_C.exp()
            at_label_C -= factor
            if named is not None:
                at_ids_CK += _column(factor) * logq_CK.exp()
        elif isinstance(target, SampledTarget):
            weight_CK = target.weight_NK.to(wide)
            values.append(-(weight_CK * logq_CK).sum(1))
            on_rest_C += factor
            at_ids_CK -= _column(factor) * weight_CK
        else:
            assert named is not None
            value_C, rest_grad_C, grad_CK = _with_tail(part, named, logq_CK, logq_rest_C)
            values.append(value_C)
            on_rest_C += factor * rest_grad_C
            at_ids_CK += _column(factor) * grad_CK
    buffer_CV.mul_((on_rest_C / mass_C).to(buffer_CV.dtype)[:, None])
    buffer_CV.scatter_add_(1, ids_CK, at_ids_CK.to(buffer_CV.dtype))
    buffer_CV.scatter_add_(1, labels_C1, at_label_C.to(buffer_CV.dtype)[:, None])
    return values


def _softmax_(buffer_CV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-sum-exp, sum); the buffer becomes exp(buffer - maximum), to be divided by the sum."""
    peak_C1 = buffer_CV.amax(1, keepdim=True)
    peak_C1 = peak_C1.masked_fill(peak_C1 == -torch.inf, 0.0)  # nothing left beside the best
    buffer_CV.sub_(peak_C1).exp_()
    mass_C = buffer_CV.sum(1)
    return mass_C.log() + peak_C1[:, 0], mass_C.clamp(min=torch.finfo(mass_C.dtype).tiny)


def _with_tail(
    part: Part, named: SparseTarget, logq_CK: torch.Tensor, logq_rest_C: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(value, gradient as a multiple of the softmax over the rest, gradient at the ids)."""
    logq = torch.cat([logq_CK, logq_rest_C[:, None]], 1).clamp(min=NO_MASS)
    logp = torch.cat([named.logp_NK, named.tail_N[:, None]], 1).to(logq).clamp(min=NO_MASS)
    value, q_g = divergence(part.kind, logp, logq, part.value_of_parameter or 0.0)
    grad = q_g - logq.exp() * q_g.sum(1, keepdim=True)
    return value.sum(1), grad[:, -1], grad[:, :-1]


def _dense(
    buffer_CV: torch.Tensor,
    labels_C: torch.Tensor,
    target: DenseTarget,
    group: Sequence[Part],
    scale: float,
) -> list[torch.Tensor]:
    wide, labels_C1 = _wide(buffer_CV), labels_C[:, None]
    logq_CV = buffer_CV.sub_(buffer_CV.logsumexp(1, keepdim=True)).clamp_(min=NO_MASS)
    logp_CV = target.logp_NV.to(buffer_CV.dtype, copy=True)
    _divide(logp_CV, group[0].temperature)
    logp_CV.sub_(logp_CV.logsumexp(1, keepdim=True)).clamp_(min=NO_MASS)
    if missing := buffer_CV.shape[1] - logp_CV.shape[1]:
        logp_CV = pad(logp_CV, (0, missing), value=NO_MASS)  # tokens that the teacher has not
    on_q_C, at_label_C = logq_CV.new_zeros(len(logq_CV)), logq_CV.new_zeros(len(logq_CV))
    grad_CV: torch.Tensor | None = None
    values = []
    for part in group:
        factor = _factor(part, scale)
        if part.kind == CROSS_ENTROPY:
            values.append(-logq_CV.gather(1, labels_C1)[:, 0].to(wide))
            on_q_C += factor
            at_label_C -= factor
            continue
        value_CV, q_g_CV = divergence(part.kind, logp_CV, logq_CV, part.value_of_parameter or 0.0)
        values.append(value_CV.sum(1, dtype=wide))
        on_q_C -= factor * q_g_CV.sum(1)
        # Some forms hand out one tensor twice, so this must not work in place.
        weighted_CV = q_g_CV * _column(factor)
        grad_CV = weighted_CV if grad_CV is None else grad_CV.add_(weighted_CV)
    buffer_CV.exp_().mul_(on_q_C[:, None])
    if grad_CV is not None:
        buffer_CV += grad_CV
    buffer_CV.scatter_add_(1, labels_C1, at_label_C[:, None])
    return values


def _factor(part: Part, scale: float) -> Amount:
    """Of the gradient with respect to the logits: tau^2 of the square, 1/tau of the division."""
    tau = part.temperature
    return scale * part.weight * (tau if part.square else 1 / tau)


def _squared(value_C: torch.Tensor, part: Part) -> torch.Tensor:
    tau = part.temperature
    return value_C * tau * tau if part.square else value_C


def _column(amount: Amount) -> Amount:
    return amount[:, None] if isinstance(amount, torch.Tensor) else amount


def _wide(tensor: torch.Tensor) -> torch.dtype:
    """For what is K numbers a token, not V. The one device without float64 does without."""
    return tensor.dtype if tensor.device.type == "mps" else torch.float64


def _divide(logits_CV: torch.Tensor, temperature: Amount) -> None:
    if isinstance(temperature, torch.Tensor):
        logits_CV /= temperature[:, None]
    elif temperature != 1.0:
        logits_CV /= temperature
