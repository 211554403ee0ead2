"""Generated problems for the loss: students and teachers of every mood, in every form.

Shapes: N tokens, V vocabulary, K entries of a token.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mwalimu.objectives.head import Head
from mwalimu.objectives.parts import Part
from mwalimu.objectives.targets import DenseTarget, SampledTarget, SparseTarget, Target
from tests.objectives.reference import Array, Best, Draws, Full, Loss, Teacher

DIVERGENCES = (
    "forward_kl",
    "reverse_kl",
    "jsd",
    "skew_forward_kl",
    "skew_reverse_kl",
    "total_variation",
)
FORMS = ("labels", "sampled", "topk", "whole", "dense")
"""`whole`: best tokens that are all there are, so that the tail has no mass."""
GAP = 60.0
"""How far above all other logits the token is that one is nearly sure of."""


def student_scores(rng: np.random.Generator, tokens: int, width: int) -> Array:
    """[N, V]: flat, ordinary, peaked, nearly sure of one token."""
    scores = rng.normal(size=(tokens, width))
    scores *= rng.choice([0.01, 1.0, 1.0, 4.0], size=(tokens, 1))
    sure = rng.random(tokens) < 0.2
    scores[sure, rng.integers(width, size=int(sure.sum()))] += GAP
    return scores


def teacher_scores(rng: np.random.Generator, scores: Array) -> Array:
    """[N, V]: of its own mind, or one close to the student's (`scores`)."""
    other = student_scores(rng, *scores.shape)
    agrees = rng.random(len(scores)) < 0.3
    near = scores + rng.normal(size=scores.shape)
    return np.where(agrees[:, None], near, other)


def teacher_of(rng: np.random.Generator, form: str, scores: Array, kind: Any) -> Teacher:
    """A teacher in the form; its numbers are those that `kind`, a numpy type, can hold."""
    if form == "labels":
        return None
    if form == "dense":
        return Full(_rounded(scores, kind))
    log_p = scores - np.log(np.exp(scores - scores.max(1, keepdims=True)).sum(1, keepdims=True))
    log_p -= scores.max(1, keepdims=True)
    if form == "sampled":
        return _draws(rng, np.exp(log_p), kind)
    return _best(rng, log_p, scores.shape[1] if form == "whole" else None, kind)


def _draws(rng: np.random.Generator, p_NV: Array, kind: Any) -> Draws:
    counts_NV = rng.multinomial(12, p_NV / p_NV.sum(1, keepdims=True))
    most = int((counts_NV > 0).sum(1).max())
    ids_NK = np.argsort(-counts_NV, axis=1, kind="stable")[:, :most]
    share_NK = np.take_along_axis(counts_NV, ids_NK, 1) / 12
    ids_NK = np.where(share_NK > 0, ids_NK, 0)
    return Draws(ids_NK, _rounded(share_NK, kind))


def _best(rng: np.random.Generator, log_p_NV: Array, most: int | None, kind: Any) -> Best:
    """From one to six best tokens, the rest pads; with `most`, all tokens."""
    tokens, width = log_p_NV.shape
    sizes_N = np.full(tokens, most) if most else rng.integers(1, min(6, width - 1) + 1, size=tokens)
    order_NV = np.argsort(-log_p_NV, axis=1)
    logp_NV = np.take_along_axis(log_p_NV, order_NV, 1)
    named_NV = np.arange(width) < sizes_N[:, None]
    with np.errstate(divide="ignore"):
        tail_N = np.log(np.where(named_NV, 0.0, np.exp(logp_NV)).sum(1))
    columns = slice(0, int(sizes_N.max()))
    ids_NK = np.where(named_NV, order_NV, 0)[:, columns]
    logp_NK = np.where(named_NV, logp_NV, -np.inf)[:, columns]
    return Best(ids_NK, _rounded(logp_NK, kind), _rounded(tail_N, kind))


def random_losses(
    rng: np.random.Generator, form: str, tokens: int, kind: Any, *, kinks: bool = True
) -> tuple[list[Loss], list[Part]]:
    """One to three parts that `form` allows, the same for the reference and for the code.

    Without `kinks`, no total variation: its gradient jumps where p = q.
    """
    kinds = {"labels": ("cross_entropy",), "sampled": ("cross_entropy", "forward_kl")}
    choices = kinds.get(form, ("cross_entropy", *(DIVERGENCES if kinks else DIVERGENCES[:-1])))
    shared = _amount(rng, (1.0, 0.5, 3.0), tokens, kind)
    losses = []
    for _ in range(rng.integers(1, 4)):
        tau = shared if rng.random() < 0.6 else _amount(rng, (1.0, 0.7, 2.0), tokens, kind)
        weight = _amount(rng, (1.0, 0.3, 0.0), tokens, kind)
        parameter = float(rng.choice([0.1, 0.5, 0.9]))
        name = str(rng.choice(choices))
        losses.append(Loss(name, weight, tau, parameter, bool(rng.integers(2))))
    tensors: dict[int, torch.Tensor] = {}

    def amount(value: float | Array) -> float | torch.Tensor:
        """The same tensor for the same array: parts may share one."""
        if isinstance(value, float):
            return value
        return tensors.setdefault(id(value), torch.tensor(value.astype(kind)))

    parts = [
        Part(loss.kind, amount(loss.weight), amount(loss.tau), loss.parameter, loss.square)
        for loss in losses
    ]
    return losses, parts


def _amount(
    rng: np.random.Generator, choices: tuple[float, ...], tokens: int, kind: Any
) -> float | Array:
    if rng.random() < 0.6:
        return float(rng.choice(choices))
    return _rounded(rng.uniform(0.5, 3.0, size=tokens), kind)


def target_of(teacher: Teacher, dtype: torch.dtype) -> Target | None:
    if isinstance(teacher, Draws):
        return SampledTarget(
            torch.tensor(teacher.ids_NK), torch.tensor(teacher.share_NK, dtype=dtype)
        )
    if isinstance(teacher, Best):
        ids_NK = torch.tensor(teacher.ids_NK)
        logp_NK = torch.tensor(teacher.logp_NK, dtype=dtype)
        return SparseTarget(ids_NK, logp_NK, torch.tensor(teacher.tail_N, dtype=dtype))
    return DenseTarget(torch.tensor(teacher.scores_NV, dtype=dtype)) if teacher else None


def random_head(rng: np.random.Generator, width: int, hidden: int, dtype: torch.dtype) -> Head:
    """With and without a bias, a scale, a cap, padding columns.

    The first state drives one token alone, ten times itself.
    """
    weight_VH = torch.tensor(rng.normal(size=(width, hidden)) / np.sqrt(hidden)).to(dtype)
    weight_VH[:, 0] = 0
    weight_VH[rng.integers(width - 3), 0] = 10
    head = Head(weight_VH)
    if rng.random() < 0.5:
        head = replace(head, bias_V=torch.tensor(rng.normal(size=width)).to(dtype))
    if rng.random() < 0.5:
        head = replace(head, scale=float(rng.choice([0.25, 1.7])))
    if rng.random() < 0.4:
        head = replace(head, soft_cap=float(rng.choice([3.0, 30.0])))
    return replace(head, vocabulary=width - 3) if rng.random() < 0.5 else head


def _rounded(values: Array, kind: Any) -> Array:
    return values.astype(kind).astype(np.float64)
