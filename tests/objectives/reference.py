"""The losses as the papers write them, in float64: whole softmaxes, probabilities, no shortcuts.

Shares nothing with the code under test. Derivatives are by complex step: f(x + ih).imag / h is
exact to rounding for any f that is analytic, so that no gradient is derived here at all.

Shapes: N tokens, V vocabulary, K entries of a token, H hidden, "..." the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
STEP = 1e-60
FLOOR = np.exp(-50.0)
"""The least that a teacher gives a token, to a reverse KL: stated in objectives/divergence.py."""


@dataclass(frozen=True)
class Draws:
    ids_NK: Array
    share_NK: Array


@dataclass(frozen=True)
class Best:
    """Log-probabilities; minus infinity at pads. `tail_N`: the log of what all others have."""

    ids_NK: Array
    logp_NK: Array
    tail_N: Array


@dataclass(frozen=True)
class Full:
    scores_NV: Array


Teacher = Draws | Best | Full | None


@dataclass(frozen=True)
class Loss:
    kind: str
    weight: float | Array
    tau: float | Array
    parameter: float
    square: bool


@dataclass(frozen=True)
class Answer:
    """`size_P`: the sums of the sizes of the terms, which bound how exact a sum can be.

    `grad_NV` is with respect to hidden @ weight.T + bias. `grad_size_N` is the like of `size_P`
    for a token's gradient: that is a difference of probabilities times logarithms.
    """

    loss: float
    loss_size: float
    sums_P: Array
    size_P: Array
    grad_NV: Array
    grad_size_N: Array


def answer(
    raw_NV: Array,
    labels_N: Array,
    teacher: Teacher,
    losses: Sequence[Loss],
    scale: float,
    to_logits: Callable[[Array], Array] = lambda raw: raw,
) -> Answer:
    """scale * sum of weight * value over tokens and losses, and all that belongs to it."""
    grad_NV, grad_size_N = np.zeros_like(raw_NV), np.zeros(len(raw_NV))
    total, total_size, sums, sizes = 0.0, 0.0, [], []
    steps = raw_NV + 1j * STEP * np.eye(raw_NV.shape[1])[:, None, :]
    for loss in losses:
        terms = _terms(to_logits(raw_NV), labels_N, teacher, loss)
        value_N, size_N = sum(terms), sum(abs(term) for term in terms)
        stepped_VN = sum(_terms(to_logits(steps), labels_N, teacher, loss))
        weight = scale * np.asarray(loss.weight)
        grad_NV += (weight * stepped_VN.imag / STEP).T
        total += (weight * value_N).sum()
        total_size += (abs(weight) * size_N).sum()
        sums.append(value_N.sum())
        sizes.append(size_N.sum())
        grad_size_N += abs(weight) * _grad_size(size_N, loss)
    return Answer(total, total_size, np.array(sums), np.array(sizes), grad_NV, grad_size_N)


def _grad_size(size_N: Array, loss: Loss) -> Array:
    """d/dlogits of tau^2 D(softmax(logits / tau)): tau, or 1/tau without the square."""
    tau = np.asarray(loss.tau)
    return tau + size_N / tau if loss.square else (1 + size_N) / tau


def logits_of(raw: Array, scale: float, cap: float | None, vocabulary: int | None) -> Array:
    """What a head makes of hidden @ weight.T + bias; padding columns are impossible.

    Not by minus infinity: complex numbers do not divide it.
    """
    logits = cap * np.tanh(scale * raw / cap) if cap else scale * raw
    if vocabulary is not None:
        logits[..., vocabulary:] = -1e30
    return logits


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.real.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _terms(logits: Array, labels_N: Array, teacher: Teacher, loss: Loss) -> list[Array]:
    """The addends of the loss of each token, [..., N] each."""
    tau_N = np.broadcast_to(loss.tau, len(labels_N))
    square_N = tau_N**2 if loss.square else np.ones(len(labels_N))
    scores = logits / tau_N[:, None]
    here = np.arange(len(labels_N))
    if loss.kind == "cross_entropy":
        terms = [_log_sum_exp(scores), -scores[..., here, labels_N]]
    elif isinstance(teacher, Draws):
        log_q = scores - _log_sum_exp(scores)[..., None]
        picked = log_q[..., here[:, None], teacher.ids_NK]
        terms = list(np.moveaxis(-teacher.share_NK * picked, -1, 0))
    elif isinstance(teacher, Best):
        groups_NGV = _groups(teacher, scores.shape[-1])
        q = np.einsum("ngv,...nv->...ng", groups_NGV, softmax(scores))
        p_NG = np.exp(np.concatenate([teacher.logp_NK, teacher.tail_N[:, None]], 1))
        terms = divergence_terms(loss.kind, p_NG, q, loss.parameter)
    else:
        assert isinstance(teacher, Full)
        p_NV = softmax(teacher.scores_NV / tau_N[:, None])
        terms = divergence_terms(loss.kind, p_NV, softmax(scores), loss.parameter)
    return [square_N * term for term in terms]


def _groups(teacher: Best, width: int) -> Array:
    """[N, K + 1, V], 1 where a token belongs to a category: itself, or all the others."""
    rows, entries = np.nonzero(teacher.logp_NK > -np.inf)
    tokens, named = teacher.ids_NK.shape
    groups = np.zeros((tokens, named + 1, width))
    groups[rows, entries, teacher.ids_NK[rows, entries]] = 1.0
    groups[:, -1] = 1.0 - groups[:, :-1].sum(1)
    assert (groups >= 0).all()
    return groups


def divergence_terms(kind: str, p: Array, q: Array, parameter: float) -> list[Array]:
    """The addends of D(p, q), one a category and side; the categories are the last axis."""
    if kind == "forward_kl":
        terms = [_kl(p, q)]
    elif kind == "reverse_kl":
        terms = [_kl(q, np.maximum(p, FLOOR))]
    elif kind == "jsd":
        middle = parameter * p + (1 - parameter) * q
        terms = [parameter * _kl(p, middle), (1 - parameter) * _kl(q, middle)]
    elif kind == "skew_forward_kl":
        terms = [_kl(p, parameter * p + (1 - parameter) * q)]
    elif kind == "skew_reverse_kl":
        terms = [_kl(q, (1 - parameter) * p + parameter * q)]
    else:
        assert kind == "total_variation"
        difference = p - q
        terms = [0.5 * np.sign(difference.real) * difference]
    return [addend for term in terms for addend in np.moveaxis(term, -1, 0)]


def _kl(left: Array, right: Array) -> Array:
    """left * log(left / right), 0 where left is."""
    left, right = np.broadcast_arrays(left, right)
    there = left != 0
    safe_left, safe_right = np.where(there, left, 1.0), np.where(there, right, 1.0)
    return left * (np.log(safe_left) - np.log(safe_right))


def _log_sum_exp(scores: Array) -> Array:
    peak = scores.real.max(-1)
    return np.log(np.exp(scores - peak[..., None]).sum(-1)) + peak
