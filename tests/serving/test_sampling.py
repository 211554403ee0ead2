"""Draws against transformers' own warpers and the frequencies that they should have."""

from itertools import islice

import numpy as np
import pytest

from mwalimu.serving.sampling import draw, likeliest, log_softmax, uniforms


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.5])
def test_draws_have_the_warped_probabilities(top_p: float, temperature: float) -> None:
    import torch
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    logits = np.random.default_rng(0).normal(size=12).astype(np.float32) * 2
    scores = TemperatureLogitsWarper(temperature)(None, torch.tensor(logits)[None])
    expected = TopPLogitsWarper(top_p)(None, scores).softmax(-1)[0].numpy()
    count = 20000
    grid = (np.arange(count) + 0.5) / count
    drawn = [draw(logits, temperature=temperature, top_p=top_p, uniform=u) for u in grid]
    found = np.bincount(drawn, minlength=12) / count
    np.testing.assert_allclose(found, expected, atol=2 / count)


def test_cold_and_greedy_are_the_likeliest() -> None:
    logits = np.array([0.0, 3.0, 2.999], dtype=np.float32)
    for temperature in (0.0, 1e-308):
        assert draw(logits, temperature=temperature, top_p=1.0, uniform=0.999) == 1


def test_log_probabilities_and_their_order() -> None:
    logits = np.array([0.0, 1.0, 1.0, -np.inf], dtype=np.float32)
    log_probs = log_softmax(logits)
    assert np.exp(log_probs).sum() == pytest.approx(1)
    assert [i for i, _ in likeliest(log_probs, 3)] == [1, 2, 0]
    assert likeliest(log_probs, 0) == []


def test_numbers_depend_on_seed_and_choice_alone() -> None:
    first = list(islice(uniforms(5, 0), 4))
    assert first == list(islice(uniforms(5, 0), 4))
    assert first != list(islice(uniforms(5, 1), 4)) and first != list(islice(uniforms(6, 0), 4))
