"""Chunk likelihoods: learning from a teacher whose tokens are other tokens.

Both models spell the same answer. Its bytes are cut into chunks, the smallest texts that both spell
in whole tokens (`data.byte_spans.align`), and of each chunk the student is to find what the teacher
does: how likely it is. That takes no more of the teacher than the log-probabilities of its own
tokens of the answer, so it works from a cache of a few bytes a token.

Paper: Minixhofer, Vulić and Ponti 2025, "Universal Cross-Tokenizer Distillation via Approximate
Likelihood Matching" (ALM, arXiv 2503.20083), the binarised f-divergence

    sum over chunks c of f(P(c)^(1/tau) || Q(c)^(1/tau)) + f(1 - P(c)^(1/tau) || 1 - Q(c)^(1/tau))

with f the forward Kullback-Leibler divergence. P(c) is the teacher's likelihood of the chunk after
the text before it, the product of its tokens' probabilities; Q(c) is the student's. The paper uses
tau = 100. Three things are otherwise here. Chunks are not merged to lessen the bias of a
tokenization (a token also tells that no longer one was taken): they are the smallest ones. A
log-likelihood is taken to be at most `SURE`. And the end of turn is a chunk.

Shapes: T tokens of the teacher and S of the student in one row; N target tokens of a batch, J of
them in a chunk, M chunks of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mwalimu.data.byte_spans import align

SURE = -1e-6
"""In nats. Nearer to certainty, a log-softmax in float32 is mostly rounding."""


@dataclass(frozen=True, slots=True)
class RowChunks:
    """The chunk of each of the student's target tokens of a row (-1: none), and what the teacher
    says of each chunk: its natural log-likelihood."""

    chunk_S: NDArray[np.int64]
    logp_M: NDArray[np.float64]

    @classmethod
    def between(cls, logp_T: ArrayLike, lengths_T: ArrayLike, lengths_S: ArrayLike) -> RowChunks:
        """From the teacher's log-probabilities of its tokens and the bytes of both's tokens."""
        chunk_T, chunk_S = align(lengths_T, lengths_S)
        inside = chunk_T >= 0
        values = np.asarray(logp_T, dtype=np.float64)[inside]
        return cls(chunk_S, np.bincount(chunk_T[inside], weights=values).astype(np.float64))

    @classmethod
    def none(cls, tokens: int) -> RowChunks:
        """Of a row with nothing to compare: the teacher did not score it, or bytes are unproved."""
        return cls(np.full(tokens, -1, dtype=np.int64), np.zeros(0))


@dataclass(frozen=True, slots=True)
class ChunkLikelihoods:
    """The chunks of a batch: chunk m has the next `sizes_M[m]` of `tokens_J`, which index the
    batch's target tokens, and the log-likelihood `logp_M[m]` under the teacher."""

    tokens_J: torch.Tensor
    sizes_M: torch.Tensor
    logp_M: torch.Tensor

    @classmethod
    def of_rows(cls, rows: Sequence[RowChunks], device: Any = "cpu") -> ChunkLikelihoods:
        """`rows` in the batch's order, each with all its target tokens."""
        chunks = np.concatenate([np.zeros(0, dtype=np.int64), *(row.chunk_S for row in rows)])
        sizes = [np.bincount(row.chunk_S[row.chunk_S >= 0]) for row in rows]
        logp = [row.logp_M for row in rows]
        return cls(
            torch.from_numpy(np.flatnonzero(chunks >= 0)).to(device),
            torch.from_numpy(np.concatenate([np.zeros(0, dtype=np.int64), *sizes])).to(device),
            torch.from_numpy(np.concatenate([np.zeros(0), *logp]).astype(np.float32)).to(device),
        )


def chunk_likelihood_loss(
    logq_N: torch.Tensor,
    target: ChunkLikelihoods,
    *,
    temperature: float = 1.0,
    rescale: bool = False,
) -> torch.Tensor:
    """Sum over the chunks of KL(Bernoulli(P^(1/tau)) || Bernoulli(Q^(1/tau))), in nats.

    P is the teacher's, Q the student's: Q(c) = exp of the sum of `logq_N` over the chunk's tokens.
    The gradient goes to `logq_N`. With `rescale` both it and the value are multiplied by tau, since
    they fall as 1 / tau: to tau * KL -> |log Q| - |log P| + |log P| ln(|log P| / |log Q|) for a
    large tau, a divergence of the surprises themselves.
    """
    chosen_J = logq_N.index_select(0, target.tokens_J)
    logq_M = torch.segment_reduce(chosen_J, "sum", lengths=target.sizes_M, unsafe=True)
    # The value stops at SURE and the gradient does not, or a student too sure would stay so.
    logq_M = logq_M + (logq_M.clamp(max=SURE) - logq_M).detach()
    logp_M = target.logp_M.to(logq_M.dtype).clamp(torch.finfo(logq_M.dtype).min, SURE)
    sum_nats = bernoulli_kl(logp_M / temperature, logq_M / temperature).sum()
    return sum_nats * temperature if rescale else sum_nats


def bernoulli_kl(logp: torch.Tensor, logq: torch.Tensor) -> torch.Tensor:
    """KL(p || q) of two events with these log-probabilities, each below 0, in nats.

    d / d logq = (q - p) / (1 - q).
    """
    happens = logp.exp() * (logp - logq)
    return happens - torch.expm1(logp) * (log1mexp(logp) - log1mexp(logq))


def log1mexp(x: torch.Tensor) -> torch.Tensor:
    """log(1 - e^x) for x < 0, to the last digits at both ends (Mächler 2012)."""
    half = -math.log(2)
    near = torch.log(-torch.expm1(x))
    # Held where it is finite: close to 0 its unused gradient would be 0 * infinity.
    far = torch.log1p(-torch.exp(x.clamp(max=half)))
    return torch.where(x > half, near, far)
