"""The loss of a chunk with Triton kernels: what `torch_chunk` computes, for float32 on CUDA.

Of labels, draws and best tokens the logits are read once for the sums of each temperature and once
more to become the gradient; a dense teacher and the logits are read once more for the value of each
divergence. Nothing of the size of the logits is allocated, however many parts and temperatures
there are. What is a few numbers a token stays in torch, in float64.

Shapes: C tokens, V vocabulary, K entries, P parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton

from mwalimu.objectives.kernels import triton_kernels as kernels
from mwalimu.objectives.kernels.categories import (
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

    `logits_CV`, float32 and contiguous, becomes the gradient, with respect to it, of
    scale * sum of weight * value.
    """
    # Triton launches on the current device, which need not be that of the logits.
    with torch.cuda.device_of(logits_CV):  # type: ignore[no-untyped-call]
        return _chunk_loss(logits_CV, labels_C[:, None], target, parts, scale)


def _chunk_loss(
    logits_CV: torch.Tensor,
    labels_C1: torch.Tensor,
    target: ChunkTarget | None,
    parts: Sequence[Part],
    scale: float,
) -> torch.Tensor:
    label_C1 = logits_CV.gather(1, labels_C1)  # before it is taken out as one of the best
    ids_CK, known_CK = take_out(logits_CV, target)
    at_ids_CK, at_label_C1 = torch.zeros_like(known_CK), torch.zeros_like(label_C1)
    values: dict[int, torch.Tensor] = {}
    terms: list[_Term] = []
    for members in by_temperature(parts):
        student = _softmax(logits_CV, parts[members[0]].temperature)
        over_all = [i for i in members if _is_over_all_tokens(parts[i], target)]
        if few := [i for i in members if i not in over_all]:
            found = few_categories(
                student.divided(known_CK),
                student.divided(label_C1)[:, 0],
                student.mass_C.double().log() + student.peak_C,
                target,
                [parts[i] for i in few],
                scale,
            )
            values |= zip(few, found.values, strict=True)
            at_ids_CK += found.at_ids_CK
            at_label_C1 += found.at_label_C[:, None]
            # The mass is 1 at least, the peak's own share, but where nothing is left.
            terms.append(_Term(student, found.on_rest_C / student.mass_C.clamp(min=1.0)))
        if over_all:
            assert isinstance(target, DenseTarget)
            teacher = _softmax(target.logp_NV, parts[over_all[0]].temperature)
            for i in over_all:
                values[i], term = _divergence(student, teacher, parts[i], scale)
                terms.append(term)
    _write_gradient(terms)
    logits_CV.scatter_add_(1, ids_CK, at_ids_CK)
    logits_CV.scatter_add_(1, labels_C1, at_label_C1)
    return torch.stack([squared(values[i], part) for i, part in enumerate(parts)])


def _is_over_all_tokens(part: Part, target: ChunkTarget | None) -> bool:
    return isinstance(target, DenseTarget) and part.kind != CROSS_ENTROPY


class _Softmax(NamedTuple):
    """exp(score * inverse_tau - peak) / mass"""

    scores_CV: torch.Tensor
    inverse_tau_C: torch.Tensor
    peak_C: torch.Tensor
    mass_C: torch.Tensor

    def divided(self, scores_CK: torch.Tensor) -> torch.Tensor:
        """In float64, but rounded like the scores in the kernels: a sure student's loss is 0."""
        return (scores_CK * self.inverse_tau_C[:, None]).double()


def _softmax(scores_CV: torch.Tensor, temperature: Amount) -> _Softmax:
    scores_CV = scores_CV if scores_CV.stride(1) == 1 else scores_CV.contiguous()
    rows, width = scores_CV.shape
    peak_C = torch.empty(rows, device=scores_CV.device)
    mass_C, inverse_tau_C = torch.empty_like(peak_C), _of_each(1.0 / temperature, peak_C)
    kernels.sum_exponentials[(rows,)](
        scores_CV,
        scores_CV.stride(0),
        width,
        inverse_tau_C,
        peak_C,
        mass_C,
        BLOCK=kernels.SUM_BLOCK,
        **kernels.OPTIONS,
    )
    return _Softmax(scores_CV, inverse_tau_C, peak_C, mass_C)


class _Term(NamedTuple):
    """An addend of the gradient: share * exp(score - peak) + factor * q * df/dq.

    Without a kind there is no second half.
    """

    student: _Softmax
    share_C: torch.Tensor
    kind: str = ""
    factor: Amount = 0.0
    teacher: _Softmax | None = None
    parameter: float = 0.0

    def table(self) -> torch.Tensor:
        """[fields, C]: the fields in the order of `triton_kernels`."""
        student = self.student
        teacher = self.teacher or student  # no more than a place holder
        mass_C = student.mass_C
        return torch.stack(
            [
                student.inverse_tau_C,
                student.peak_C,
                mass_C,
                self.share_C.float(),
                _of_each(self.factor, mass_C),
                teacher.peak_C,
                teacher.mass_C,
                _of_each(self.parameter, mass_C),
            ]
        )


def _divergence(
    student: _Softmax, teacher: _Softmax, part: Part, scale: float
) -> tuple[torch.Tensor, _Term]:
    """(value, addend of the gradient), of all tokens."""
    value_C, q_g_C = torch.empty_like(student.mass_C), torch.empty_like(student.mass_C)
    factor = gradient_factor(part, scale)
    parameter = part.value_of_parameter or 0.0
    term = _Term(student, torch.zeros_like(q_g_C), part.kind, factor, teacher, parameter)
    kernels.sum_divergence[(len(value_C),)](
        *_matrices(student, teacher),
        term.table(),
        len(value_C),
        value_C,
        q_g_C,
        KIND=kernels.CODES[part.kind],
        BLOCK=kernels.DIVERGENCE_BLOCK,
        **kernels.OPTIONS,
    )
    # q (g - sum of q g), where q is the exponential over the mass
    return value_C.double(), term._replace(share_C=-factor * q_g_C / student.mass_C)


def _write_gradient(terms: Sequence[_Term]) -> None:
    """Over the logits."""
    student = terms[0].student
    rows, width = student.scores_CV.shape
    teacher = next((term.teacher for term in terms if term.teacher), None)
    kernels.write_gradient[(rows, triton.cdiv(width, kernels.GRADIENT_BLOCK))](
        *_matrices(student, teacher or student),
        torch.stack([term.table() for term in terms]),
        rows,
        TERMS=len(terms),
        KINDS=kernels.packed([term.kind for term in terms]),
        BLOCK=kernels.GRADIENT_BLOCK,
        **kernels.OPTIONS,
    )


def _matrices(
    student: _Softmax, teacher: _Softmax
) -> tuple[torch.Tensor, int, int, torch.Tensor, int, int]:
    """Both with their row's stride and width; the teacher's further tokens have no counterpart."""
    logits_CV, teacher_CV = student.scores_CV, teacher.scores_CV
    width = logits_CV.shape[1]
    shared = min(width, teacher_CV.shape[1])
    return logits_CV, logits_CV.stride(0), width, teacher_CV, teacher_CV.stride(0), shared


def _of_each(amount: Amount, like_C: torch.Tensor) -> torch.Tensor:
    """One number a token, in float32."""
    if isinstance(amount, torch.Tensor):
        return amount.to(like_C.dtype)
    return torch.full_like(like_C, amount)
