"""Attention transfer: the student looks where the teacher looks, whatever their numbers of heads.

From queries and keys as the attention got them (see `attention_tap`), a chunk of query rows at a
time, so that no map of a whole model exists. The gradient is formed in the forward pass, hence
nothing of a chunk is kept and nothing is computed twice.

With A heads, a_k = softmax over keys of s_ak, and m_k = 1/A sum_a a_k the averaged map, the
gradient with respect to a score is 1/A a_j (g_j - sum_k a_k g_k), g = dL/dm. For the KL,
g_k = -p_k / m_k, and a_k / m_k, at most A, is taken from logarithms: it is finite where both
underflow.

Shapes: N query positions, C of a chunk, B rows, T tokens, A heads, G key heads, D of a head,
P layer pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch

AttentionKind = Literal["kl", "mse"]
ATTENTION_KINDS: tuple[str, ...] = get_args(AttentionKind)

CHUNK_SCORES = 2**24
"""Scores, chunk x keys x heads, that exist at once: 64 MiB in float32, and some five of them."""

NO_SCORE = -1e30
"""The score of a key out of sight: e^-1e30 is 0, and no difference of two is NaN."""


@dataclass(frozen=True, slots=True)
class Attention:
    """What one layer's attention compares: softmax(cap(scaling * q k^T)) over keys in sight.

    Heads [i * A / G, (i + 1) * A / G) share key head i. `allowed_NT` says which keys each query
    sees; None is causal, and with a `window` no further back than so many tokens.
    """

    query_NAD: torch.Tensor
    key_BGTD: torch.Tensor
    scaling: float
    soft_cap: float | None = None
    window: int | None = None
    allowed_NT: torch.Tensor | None = None


def attention_loss(
    students: Sequence[Attention],
    teachers: Sequence[Attention],
    positions_N: torch.Tensor,
    kind: AttentionKind,
    scale: float,
    *,
    chunk_scores: int = CHUNK_SCORES,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(scale * the sum over pairs, sums_P without scale or gradient), summed over queries.

    p and q are the teacher's and the student's maps, averaged over heads. Where the student sees
    fewer keys (its window is narrower), p is cut down to these and divided by what is left.

    - `kl`: KL(p || q) in nats (MiniLM, Wang et al. 2020, arXiv 2002.10957, section 3.1, there head
      by head, which asks for as many heads).
    - `mse`: sum over keys of (p - q)^2, no unit (TinyBERT, Jiao et al. 2020, arXiv 1909.10351,
      eq. 7, there a mean, which fades with T).

    Gradients go to the students' queries and keys alone.

    Args:
        students, teachers: one a pair, on one device, of the same rows and tokens.
        positions_N: the flat (B*T) positions that the queries of both were taken at. They are
            read on the host: a CPU tensor spares a synchronisation.
        chunk_scores: bounds memory and nothing else.
    """
    tokens = students[0].key_BGTD.shape[2]
    places = positions_N.tolist()
    sums = []
    for student, teacher in zip(students, teachers, strict=True):
        heads = max(student.query_NAD.shape[1], teacher.query_NAD.shape[1])
        chunks = list(_chunks(places, tokens, chunk_scores // heads))
        sums.append(
            _AttentionSum.apply(  # type: ignore[no-untyped-call]
                student.query_NAD, student.key_BGTD, student, teacher, positions_N, chunks, kind
            )
        )
    sums_P = torch.stack(sums)
    return scale * sums_P.sum(), sums_P.detach()


class Chunk(NamedTuple):
    """Queries `part` of N, all of one row; none sees a key from `length` on."""

    part: slice
    row: int
    length: int


def _chunks(positions: list[int], tokens: int, scores: int) -> Iterator[Chunk]:
    """Runs of one row with at most `scores` (query, key) pairs, or one query."""
    start, length = 0, 0
    for index, position in enumerate(positions):
        row, place = divmod(position, tokens)
        longer = max(length, place + 1)
        begun = index > start
        if begun and (positions[start] // tokens != row or (index + 1 - start) * longer > scores):
            yield Chunk(slice(start, index), positions[start] // tokens, length)
            start, longer = index, place + 1
        length = longer
    if positions:
        yield Chunk(slice(start, len(positions)), positions[start] // tokens, length)


class Scores(NamedTuple):
    """`slope` is d score / d (scaling * q k^T); None is 1."""

    score_ACT: torch.Tensor
    slope_ACT: torch.Tensor | None


class ChunkReader:
    """An `Attention` read a chunk at a time, in at least float32."""

    def __init__(self, attention: Attention, positions_N: torch.Tensor) -> None:
        self.attention = attention
        query_NAD = attention.query_NAD
        self.dtype = torch.promote_types(query_NAD.dtype, torch.float32)
        self.groups, tokens = attention.key_BGTD.shape[1:3]
        self.heads, self.size = query_NAD.shape[1:]
        self.places_N = positions_N.to(query_NAD.device) % tokens

    def query(self, chunk: Chunk) -> torch.Tensor:
        """[G, A / G * C, D]: the queries that share a key head, side by side."""
        query_ACD = self.attention.query_NAD[chunk.part].to(self.dtype).transpose(0, 1)
        return query_ACD.reshape(self.groups, -1, self.size)

    def key(self, chunk: Chunk) -> torch.Tensor:
        """[G, T, D]."""
        return self.attention.key_BGTD[chunk.row, :, : chunk.length].to(self.dtype)

    def allowed(self, chunk: Chunk) -> torch.Tensor:
        """[C, T], true where a query sees a key."""
        if self.attention.allowed_NT is not None:
            return self.attention.allowed_NT[chunk.part, : chunk.length]
        places_C1 = self.places_N[chunk.part, None]
        keys_T = torch.arange(chunk.length, device=places_C1.device)
        allowed_CT = keys_T <= places_C1
        if self.attention.window is not None:
            allowed_CT &= keys_T > places_C1 - self.attention.window
        return allowed_CT

    def scores(self, chunk: Chunk, allowed_CT: torch.Tensor) -> Scores:
        score_GXT = self.query(chunk) @ self.key(chunk).transpose(1, 2)
        score_ACT = score_GXT.view(self.heads, -1, chunk.length).mul_(self.attention.scaling)
        slope_ACT = None
        if self.attention.soft_cap is not None:
            score_ACT.div_(self.attention.soft_cap).tanh_()
            slope_ACT = 1 - score_ACT.square()
            score_ACT.mul_(self.attention.soft_cap)
        score_ACT.masked_fill_(~allowed_CT, NO_SCORE)
        return Scores(score_ACT, slope_ACT)


class _AttentionSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query_NAD: torch.Tensor,
        key_BGTD: torch.Tensor,
        student: Attention,
        teacher: Attention,
        positions_N: torch.Tensor,
        chunks: list[Chunk],
        kind: AttentionKind,
    ) -> torch.Tensor:
        ours, theirs = ChunkReader(student, positions_N), ChunkReader(teacher, positions_N)
        wanted = any(ctx.needs_input_grad[:2])
        total = query_NAD.new_zeros((), dtype=ours.dtype)
        grad_NAD = torch.zeros_like(query_NAD) if wanted else None
        grad_BGTD = torch.zeros_like(key_BGTD, dtype=ours.dtype) if wanted else None
        with torch.autocast(query_NAD.device.type, enabled=False):
            for chunk in chunks:
                value, grad_ACT = _one_chunk(ours, theirs, chunk, kind)
                total += value
                if grad_NAD is not None and grad_BGTD is not None:
                    _add_gradient(ours, chunk, grad_ACT, grad_NAD, grad_BGTD)
        if grad_BGTD is not None:
            ctx.grads = grad_NAD, grad_BGTD.to(key_BGTD.dtype)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key = ((grad * grads[0]).to(grad.dtype) for grad in ctx.grads)
        return query, key, None, None, None, None, None


def _one_chunk(
    ours: ChunkReader, theirs: ChunkReader, chunk: Chunk, kind: AttentionKind
) -> tuple[torch.Tensor, torch.Tensor]:
    """The chunk's sum and its gradient with respect to scaling * q k^T, [A, C, T]."""
    allowed_CT = ours.allowed(chunk)
    p_CT = theirs.scores(chunk, theirs.allowed(chunk)).score_ACT.softmax(-1).mean(0)
    p_CT = p_CT.to(ours.dtype).mul_(allowed_CT)
    p_CT /= p_CT.sum(-1, keepdim=True).clamp_(min=_least(p_CT))
    score_ACT, slope_ACT = ours.scores(chunk, allowed_CT)
    logq_ACT = score_ACT.log_softmax(-1)
    del score_ACT
    logq_CT = logq_ACT.logsumexp(0) - math.log(ours.heads)
    value, weighed_ACT = _FORMS[kind](p_CT, logq_ACT, logq_CT)
    share_AC1 = weighed_ACT.sum(-1, keepdim=True)
    grad_ACT = weighed_ACT.sub_(logq_ACT.exp_().mul_(share_AC1)).div_(ours.heads)
    return value, grad_ACT if slope_ACT is None else grad_ACT.mul_(slope_ACT)


def _kl(
    p_CT: torch.Tensor, logq_ACT: torch.Tensor, logq_CT: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """sum p log(p / m), and a g of each head."""
    logp_CT = p_CT.clamp(min=_least(p_CT)).log_()
    return (p_CT * (logp_CT - logq_CT)).sum(), (logq_ACT - logq_CT).exp_().mul_(-p_CT)


def _mse(
    p_CT: torch.Tensor, logq_ACT: torch.Tensor, logq_CT: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """sum (m - p)^2, and a g of each head."""
    excess_CT = logq_CT.exp() - p_CT
    return excess_CT.square().sum(), logq_ACT.exp().mul_(2 * excess_CT)


_FORMS = {"kl": _kl, "mse": _mse}


def _least(tensor: torch.Tensor) -> float:
    """Keeps 0 log 0 and 0 / 0 at 0."""
    return torch.finfo(tensor.dtype).tiny


def _add_gradient(
    ours: ChunkReader,
    chunk: Chunk,
    grad_ACT: torch.Tensor,
    grad_NAD: torch.Tensor,
    grad_BGTD: torch.Tensor,
) -> None:
    grad_GXT = grad_ACT.view(ours.groups, -1, chunk.length).mul_(ours.attention.scaling)
    query_GXD = grad_GXT @ ours.key(chunk)
    grad_NAD[chunk.part] = query_GXD.view(ours.heads, -1, ours.size).transpose(0, 1)
    grad_BGTD[chunk.row, :, : chunk.length] += grad_GXT.transpose(1, 2) @ ours.query(chunk)
