"""Which rows of a model with two sets of frequencies may be seen together."""

from types import SimpleNamespace
from typing import Any

import pytest
from transformers import Gemma3TextConfig, LlamaConfig, Phi3Config

from mwalimu.data.longrope import answered_alike, rope_limit, sides

LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0] * 4,
    "long_factor": [2.0] * 4,
}


def model_of(config: Any) -> Any:
    return SimpleNamespace(config=config)


def listed(groups: Any) -> list[list[int]]:
    return [list(group) for group in groups]


def test_the_limit_is_that_of_longrope_alone() -> None:
    phi = Phi3Config(
        hidden_size=32,
        num_attention_heads=4,
        rope_parameters=LONGROPE,
        original_max_position_embeddings=16,
        pad_token_id=0,
    )
    assert rope_limit(model_of(phi)) == 16
    stretched = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 128,
    }
    assert rope_limit(model_of(LlamaConfig(rope_parameters=stretched))) is None
    assert rope_limit(model_of(LlamaConfig())) is None
    assert rope_limit(model_of(Gemma3TextConfig())) is None  # a mapping for each kind of layer


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(None, [[0, 1, 2, 3]]), (9, [[0, 2], [1, 3]]), (10, [[0, 2, 3], [1]]), (50, [[0, 1, 2, 3]])],
)
def test_sides(limit: int | None, expected: list[list[int]]) -> None:
    assert listed(sides([3, 20, 9, 10], limit)) == expected


def test_an_answer_that_may_cross_the_limit_is_alone() -> None:
    lengths = [3, 20, 12, 11, 16, 17]
    assert listed(answered_alike(lengths, 4, None)) == [[0, 1, 2, 3, 4, 5]]
    assert listed(answered_alike(lengths, 4, 16)) == [[0, 2, 3], [4], [1, 5]]
    assert listed(answered_alike(lengths, 5, 16)) == [[0, 3], [2], [4], [1, 5]]
    assert listed(answered_alike(lengths, 4, 100)) == [[0, 1, 2, 3, 4, 5]]
