"""A teacher's logits over a row's answer, reduced to the signals that are kept of them.

Shapes: n target tokens of one row, C of them at a time, V vocabulary, K entries.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mwalimu.signals import Dense, Realised, Sampled, TopK

Reduce = Callable[[torch.Tensor], torch.Tensor]


def draw(logp_CV: torch.Tensor, draws: int, generator: torch.Generator) -> torch.Tensor:
    """Ids [C, draws], drawn with replacement: their counts are unbiased in everything linear in p.

    Source: Anshumann et al. 2025, "Sparse Logit Sampling" (arXiv 2503.16870), with the teacher
    itself as the proposal, so that a draw's weight is its count.
    """
    return torch.multinomial(logp_CV.exp(), draws, replacement=True, generator=generator)


def sampled(ids_nD: torch.Tensor) -> Sampled:
    return Sampled.from_draws(ids_nD.cpu().numpy())


def best(logp_CV: torch.Tensor, k: int, top_p: float) -> tuple[torch.Tensor, ...]:
    """(ids [C, K], log-probabilities [C, K], sizes [C], log of the mass outside [C]).

    A token keeps its most probable entries until they hold `top_p` of the mass, `k` at most. The
    mass outside is a sum over what is outside, not 1 minus a sum that is nearly 1.
    """
    values_CK, ids_CK = logp_CV.topk(min(k, logp_CV.shape[1]), dim=1)
    before_CK = values_CK.exp().cumsum(1) - values_CK.exp()
    sizes_C = (before_CK < top_p).sum(1).clamp(min=1)
    kept_CK = torch.arange(values_CK.shape[1], device=logp_CV.device) < sizes_C[:, None]
    outside_CV = logp_CV.scatter(1, ids_CK, torch.where(kept_CK, -torch.inf, values_CK))
    return ids_CK, values_CK, sizes_C, outside_CV.logsumexp(1)


def topk(parts: list[tuple[torch.Tensor, ...]]) -> TopK:
    """From the `best` of each chunk of a row."""
    ids, logprobs, sizes, tails = [], [], [], []
    for chunk in parts:
        ids_CK, values_CK, sizes_C, tail_C = (part.cpu().numpy() for part in chunk)
        kept_CK = np.arange(ids_CK.shape[1]) < sizes_C[:, None]
        ids.append(ids_CK[kept_CK].astype(np.int32))
        logprobs.append(values_CK[kept_CK].astype(np.float32))
        sizes.append(sizes_C.astype(np.uint8))
        tails.append(tail_C.astype(np.float32))
    return TopK(*(np.concatenate(arrays) for arrays in (ids, logprobs, sizes, tails)))


def dense(logp_nV: torch.Tensor) -> Dense:
    return Dense(logp_nV.half().cpu().numpy())


def realised(logp_n: torch.Tensor, byte_lengths: list[int]) -> Realised:
    return Realised(logp_n.float().cpu().numpy(), np.asarray(byte_lengths, dtype=np.uint16))
