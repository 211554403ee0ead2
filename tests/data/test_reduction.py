"""Against numpy in float64; that draws are of the distribution is tested where they are made."""

from typing import Any

import numpy as np
import pytest
import torch

from mwalimu.data.kept import Kept
from mwalimu.data.reduction import NOT_FINITE, best, draw, reduce

TOKENS, VOCABULARY = 40, 300


@pytest.fixture
def logits_CV() -> torch.Tensor:
    return torch.randn(TOKENS, VOCABULARY, generator=torch.Generator().manual_seed(1)) * 4


def true_logprobs(logits_CV: torch.Tensor, temperature: float = 1.0) -> Any:
    scaled = logits_CV.double().numpy() / temperature
    return scaled - np.log(np.exp(scaled).sum(1, keepdims=True))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_all_at_once(logits_CV: torch.Tensor, temperature: float) -> None:
    kept = Kept(("sampled", "topk", "dense", "realised"), 6, 9, 0.9, temperature)
    labels_C = torch.arange(TOKENS)
    uniforms_CD = torch.rand(TOKENS, 6, dtype=torch.float64)
    before = logits_CV.clone()
    found = reduce(logits_CV, labels_C, uniforms_CD, kept)
    assert torch.equal(logits_CV, before)
    warm, plain = true_logprobs(logits_CV, temperature), true_logprobs(logits_CV)
    own = plain[np.arange(TOKENS), np.arange(TOKENS)]
    assert found["realised"].numpy() == pytest.approx(own, abs=1e-5)
    assert found["dense"].numpy() == pytest.approx(warm, rel=1e-3)
    for row, size, tail in zip(range(TOKENS), found["sizes"], found["tail"], strict=True):
        order = np.argsort(-warm[row])
        assert found["ids"][row, :size].tolist() == order[:size].tolist()
        kept_mass = np.exp(warm[row][order[:size]])
        assert found["logprobs"][row, :size].exp().numpy() == pytest.approx(kept_mass, rel=1e-5)
        assert size == 9 or kept_mass.sum() >= 0.9 > kept_mass[:-1].sum()
        assert tail.exp() == pytest.approx(1 - kept_mass.sum(), rel=1e-4)
    mass = np.exp(warm).cumsum(1)
    for row in range(TOKENS):
        drawn = np.searchsorted(mass[row], uniforms_CD[row].numpy() * mass[row, -1], "right")
        assert found["draws"][row].tolist() == drawn.tolist()


def test_a_token_without_mass_is_never_drawn() -> None:
    p_CV = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]])
    uniforms_CD = torch.tensor([[0.0, 0.4999, 0.5, 1 - 2.0**-53]], dtype=torch.float64)
    assert draw(p_CV, uniforms_CD).tolist() == [[1, 1, 3, 3]]


def test_rare_tokens_of_a_large_vocabulary_have_their_chance() -> None:
    """Two thirds of the mass on one token, the rest on 600,000: a sum in float32 would be off."""
    p_CV = torch.full((1, 600_001), 1 / 1_800_000)
    p_CV[0, 0] = 2 / 3
    drawn = draw(p_CV, torch.tensor([[0.9, 0.999999]], dtype=torch.float64))
    assert drawn.tolist()[0] == pytest.approx([420_000, 599_998], abs=2)


def test_what_is_no_distribution_gives_no_id() -> None:
    p_CV = torch.tensor([[0.5, float("nan")], [0.5, 0.5]])
    uniforms_CD = torch.full((2, 1), 0.1, dtype=torch.float64)
    assert draw(p_CV, uniforms_CD).tolist() == [[NOT_FINITE], [0]]


def test_a_small_tail_is_summed_and_not_left_over() -> None:
    found = best(torch.tensor([[1.0, 1e-12, 2e-12]]), k=1, top_p=1.0)
    assert found["tail"].exp().item() == pytest.approx(3e-12, rel=1e-4)
