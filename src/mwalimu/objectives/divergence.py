"""Divergences between the teacher's distribution p and the student's q, in closed form.

Each is a sum of f(p, q) over categories, which are tokens, or the k best and one for all others.
By the data-processing inequality such a grouping gives a lower bound that is 0 where p = q; leaving
the others out, as is common, gives neither (it goes negative).

With g = df/dq, the gradient with respect to the logits of a softmax is q (g - sum q g), so each
form yields q g rather than g: it stays finite where q underflows. Everything is in nats and from
log-probabilities.

Sources: forward and reverse KL; generalised Jensen-Shannon, Agarwal et al. 2024 (GKD,
arXiv 2306.13649), eq. 1; skew KL, Ko et al. 2024 (DistiLLM, arXiv 2402.03898), eqs. 4 and 5; total
variation, Wen et al. 2023 (f-distill, arXiv 2307.15190).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch

DivergenceKind = Literal[
    "forward_kl", "reverse_kl", "jsd", "skew_forward_kl", "skew_reverse_kl", "total_variation"
]
DIVERGENCES: tuple[str, ...] = get_args(DivergenceKind)

DEFAULT_PARAMETER = {"jsd": 0.5, "skew_forward_kl": 0.1, "skew_reverse_kl": 0.1}
"""beta of the Jensen-Shannon divergence; alpha of the skew ones, DistiLLM's choice."""

LOG_FLOOR = -50.0
"""Where the teacher gives less than e^-50 it counts as that: a reverse KL would be infinite."""

NO_MASS = -1e4
"""Stands for the logarithm of nothing: e^-10000 is 0 in float64 too, and no difference is NaN."""

Form = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, float], tuple[torch.Tensor, torch.Tensor]
]


def divergence(
    kind: str, logp: torch.Tensor, logq: torch.Tensor, parameter: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(f, q * df/dq) of each category; sum f over the last axis for the divergence in nats.

    Both arguments are finite: `NO_MASS` where there is none. `parameter` is beta or alpha; the
    kinds that have neither ignore it.
    """
    return _FORMS[kind](logp, logq, logq.exp(), parameter)


def _forward_kl(
    logp: torch.Tensor, logq: torch.Tensor, q: torch.Tensor, _: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """KL(p || q) = sum p log(p / q)."""
    p = logp.exp()
    return p * (logp - logq), -p


def _reverse_kl(
    logp: torch.Tensor, logq: torch.Tensor, q: torch.Tensor, _: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """KL(q || p) = sum q log(q / p)."""
    value = q * (logq - logp.clamp(min=LOG_FLOOR))
    return value, value + q


def _jsd(
    logp: torch.Tensor, logq: torch.Tensor, q: torch.Tensor, beta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q.

    dm/dq's share of both terms is -(1 - beta) in all, which cancels the 1 of d(q log q).
    """
    logm = torch.logaddexp(logp + math.log(beta), logq + math.log1p(-beta))
    of_q = (1 - beta) * q * (logq - logm)
    return beta * logp.exp() * (logp - logm) + of_q, of_q


def _skew_forward_kl(
    logp: torch.Tensor, logq: torch.Tensor, q: torch.Tensor, alpha: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """KL(p || alpha p + (1 - alpha) q)."""
    logm = torch.logaddexp(logp + math.log(alpha), logq + math.log1p(-alpha))
    value = logp.exp() * (logp - logm)
    return value, (alpha - 1) * (logp + logq - logm).exp()


def _skew_reverse_kl(
    logp: torch.Tensor, logq: torch.Tensor, q: torch.Tensor, alpha: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """KL(q || (1 - alpha) p + alpha q)."""
    logm = torch.logaddexp(logp + math.log1p(-alpha), logq + math.log(alpha))
    value = q * (logq - logm)
    return value, value + q - alpha * (2 * logq - logm).exp()


def _total_variation(
    logp: torch.Tensor, logq: torch.Tensor, q: torch.Tensor, _: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """1/2 sum |p - q|."""
    excess = q - logp.exp()
    return 0.5 * excess.abs(), 0.5 * q * excess.sign()


_FORMS: dict[str, Form] = {
    "forward_kl": _forward_kl,
    "reverse_kl": _reverse_kl,
    "jsd": _jsd,
    "skew_forward_kl": _skew_forward_kl,
    "skew_reverse_kl": _skew_reverse_kl,
    "total_variation": _total_variation,
}
