"""The loss of a chunk in torch operations: any device, and float64 for checks.

Shapes: C tokens, V vocabulary, K entries, P parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import pad

from mwalimu.objectives.chunking import block_tokens
from mwalimu.objectives.divergence import NO_MASS, divergence
from mwalimu.objectives.kernels.categories import (
    column,
    few_categories,
    gradient_factor,
    squared,
    take_out,
)
from mwalimu.objectives.parts import CROSS_ENTROPY, Amount, Part, by_temperature
from mwalimu.objectives.targets import ChunkTarget, DenseTarget


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
    values = [
        _block_loss(
            logits_CV[rows],
            labels_C[rows],
            None if target is None else target.rows(rows),
            [part.rows(rows) for part in parts],
            scale,
        )
        for rows in _blocks(logits_CV)
    ]
    return torch.cat(values, 1) if len(values) != 1 else values[0]


def _blocks(logits_CV: torch.Tensor) -> list[slice]:
    """On a CPU so few tokens at once that what is made on the way stays in its cache."""
    tokens, width = logits_CV.shape
    size = tokens
    if logits_CV.device.type == "cpu":
        size = block_tokens(width, logits_CV.element_size())
    return [slice(start, start + size) for start in range(0, tokens, max(1, size))] or [slice(0)]


def _block_loss(
    logits_CV: torch.Tensor,
    labels_C: torch.Tensor,
    target: ChunkTarget | None,
    parts: Sequence[Part],
    scale: float,
) -> torch.Tensor:
    groups = by_temperature(parts)
    values: list[torch.Tensor] = [logits_CV] * len(parts)
    total_CV: torch.Tensor | None = None
    for members in groups:
        group = [parts[index] for index in members]
        # The last group works on the logits themselves.
        last = members is groups[-1]
        buffer_CV = logits_CV if last else logits_CV.clone()
        _divide(buffer_CV, group[0].temperature)
        for index, value_C in zip(
            members, _group_loss(buffer_CV, labels_C, target, group, scale), strict=True
        ):
            values[index] = value_C
        if not last:
            total_CV = buffer_CV if total_CV is None else total_CV.add_(buffer_CV)
    if total_CV is not None:
        logits_CV += total_CV
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
    return [squared(value_C, part) for value_C, part in zip(values, group, strict=True)]


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
    ids_CK, known_CK = take_out(buffer_CV, target)
    rest_C, mass_C = _softmax_(buffer_CV)
    rest_C = rest_C.to(wide)
    found = few_categories(known_CK.to(wide), label_C, rest_C, target, group, scale)
    buffer_CV.mul_((found.on_rest_C / mass_C).to(buffer_CV.dtype)[:, None])
    buffer_CV.scatter_add_(1, ids_CK, found.at_ids_CK.to(buffer_CV.dtype))
    buffer_CV.scatter_add_(1, labels_C1, found.at_label_C.to(buffer_CV.dtype)[:, None])
    return found.values


def _softmax_(buffer_CV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-sum-exp, sum); the buffer becomes exp(buffer - maximum), to be divided by the sum.

    The sum is 1 at least, the maximum's own share, but where nothing is left: there 1 is as good.
    """
    peak_C1 = buffer_CV.amax(1, keepdim=True)
    peak_C1 = peak_C1.masked_fill(peak_C1 == -torch.inf, 0.0)  # nothing left beside the best
    buffer_CV.sub_(peak_C1).exp_()
    mass_C = buffer_CV.sum(1)
    return mass_C.log() + peak_C1[:, 0], mass_C.clamp(min=1.0)


def _dense(
    buffer_CV: torch.Tensor,
    labels_C: torch.Tensor,
    target: DenseTarget,
    group: Sequence[Part],
    scale: float,
) -> list[torch.Tensor]:
    wide, labels_C1 = _wide(buffer_CV), labels_C[:, None]
    logq_CV = _log_softmax_(buffer_CV)
    logp_CV = target.logp_NV.to(buffer_CV.dtype, copy=True)
    _divide(logp_CV, group[0].temperature)
    _log_softmax_(logp_CV)
    if missing := buffer_CV.shape[1] - logp_CV.shape[1]:
        logp_CV = pad(logp_CV, (0, missing), value=NO_MASS)  # tokens that the teacher has not
    on_q_C, at_label_C = logq_CV.new_zeros(len(logq_CV)), logq_CV.new_zeros(len(logq_CV))
    grad_CV: torch.Tensor | None = None
    values = []
    for part in group:
        factor = gradient_factor(part, scale)
        if part.kind == CROSS_ENTROPY:
            values.append(-logq_CV.gather(1, labels_C1)[:, 0].to(wide))
            on_q_C += factor
            at_label_C -= factor
            continue
        value_CV, q_g_CV = divergence(part.kind, logp_CV, logq_CV, part.value_of_parameter or 0.0)
        values.append(value_CV.sum(1).to(wide))
        on_q_C -= factor * q_g_CV.sum(1)
        # Some forms hand out one tensor twice, so this must not work in place.
        weighted_CV = q_g_CV * column(factor)
        grad_CV = weighted_CV if grad_CV is None else grad_CV.add_(weighted_CV)
    buffer_CV.exp_().mul_(on_q_C[:, None])
    if grad_CV is not None:
        buffer_CV += grad_CV
    buffer_CV.scatter_add_(1, labels_C1, at_label_C[:, None])
    return values


def _log_softmax_(scores_CV: torch.Tensor) -> torch.Tensor:
    """In place. The maximum goes first: what rounding leaves of a large one would be in q."""
    scores_CV.sub_(scores_CV.amax(1, keepdim=True))
    return scores_CV.sub_(scores_CV.exp().sum(1, keepdim=True).log()).clamp_(min=NO_MASS)


def _wide(tensor: torch.Tensor) -> torch.dtype:
    """For what is K numbers a token, not V. The one device without float64 does without."""
    return tensor.dtype if tensor.device.type == "mps" else torch.float64


def _divide(logits_CV: torch.Tensor, temperature: Amount) -> None:
    if isinstance(temperature, torch.Tensor):
        logits_CV /= temperature[:, None]
    elif temperature != 1.0:
        logits_CV /= temperature
