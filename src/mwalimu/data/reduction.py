"""A teacher's logits, reduced to what is kept of them: all tokens of many rows at once.

Shapes: C tokens, V vocabulary, D draws a token, K entries a token.
"""

from __future__ import annotations

import torch

from mwalimu.data.kept import Kept

NOT_FINITE = -1
"""In place of ids drawn from what is no distribution."""


def reduce(
    logits_CV: torch.Tensor,
    labels_C: torch.Tensor,
    uniforms_CD: torch.Tensor | None,
    kept: Kept,
) -> dict[str, torch.Tensor]:
    """By name, with the tokens as first dimension.

    `draws` [C, D] int32; `ids` [C, K] int32, `logprobs` [C, K], `sizes` [C] uint8 and `tail` [C];
    `dense` [C, V] float16; `realised` [C], of the labels, at temperature 1. Log-probabilities are
    natural; `uniforms_CD` in [0, 1) decide the draws.
    """
    found: dict[str, torch.Tensor] = {}
    logits_CV = logits_CV.float()
    plain_CV = None
    if "realised" in kept.encodings:
        plain_CV = logits_CV.softmax(1)
        found["realised"] = plain_CV.gather(1, labels_C[:, None])[:, 0].log()
    if kept.temperature != 1:
        logits_CV, plain_CV = logits_CV / kept.temperature, None
    if "dense" in kept.encodings:
        found["dense"] = logits_CV.log_softmax(1).half()
    if "sampled" in kept.encodings or "topk" in kept.encodings:
        p_CV = logits_CV.softmax(1) if plain_CV is None else plain_CV
        if "sampled" in kept.encodings:
            assert uniforms_CD is not None
            found["draws"] = draw(p_CV, uniforms_CD)
        if "topk" in kept.encodings:
            found |= best(p_CV, kept.k, kept.top_p)
    return found


def draw(p_CV: torch.Tensor, uniforms_CD: torch.Tensor) -> torch.Tensor:
    """Ids [C, D] int32, with replacement: their counts are unbiased in everything linear in p.

    By the inverse of the cumulative distribution, in float64: the rounding of float32 would swallow
    the rare tokens of a large vocabulary.

    Source: Anshumann et al. 2025, "Sparse Logit Sampling" (arXiv 2503.16870), with the teacher
    itself as the proposal, so that a draw's weight is its count.
    """
    cumulative_CV = p_CV.cumsum(1, dtype=torch.float64)
    total_C1 = cumulative_CV[:, -1:].clone()
    ids_CD = torch.searchsorted(cumulative_CV, uniforms_CD * total_C1, right=True)
    ids_CD = ids_CD.clamp_(max=p_CV.shape[1] - 1)
    return torch.where(total_C1.isfinite(), ids_CD, NOT_FINITE).int()


def best(p_CV: torch.Tensor, k: int, top_p: float) -> dict[str, torch.Tensor]:
    """The most probable tokens of each, until they hold `top_p` of the mass, `k` at most.

    Places beyond `sizes` are zeros. `tail`, the log of the mass outside, is a sum over what is
    outside, not 1 minus a sum that is nearly 1. Uses up `p_CV`.
    """
    values_CK, ids_CK = p_CV.topk(min(k, p_CV.shape[1]), dim=1)
    sizes_C = (values_CK.cumsum(1) - values_CK < top_p).sum(1).clamp(min=1)
    kept_CK = torch.arange(values_CK.shape[1], device=p_CV.device) < sizes_C[:, None]
    p_CV.scatter_(1, ids_CK, values_CK.masked_fill(kept_CK, 0.0))
    return {
        "ids": ids_CK.masked_fill(~kept_CK, 0).int(),
        "logprobs": values_CK.log().masked_fill(~kept_CK, 0.0),
        "sizes": sizes_C.to(torch.uint8),
        "tail": p_CV.sum(1).log(),
    }
