"""Shapes out of configs, as transformers writes them."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mwalimu.config.student import PruneConfig
from mwalimu.finetune.footprint import pruned, shape_of
from tests.finetune.footprint.settings import FAMILIES, SIZES, config_of, shape


def parameters(config: Any) -> int:
    with torch.device("meta"):
        return int(AutoModelForCausalLM.from_config(config).num_parameters())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [False, True])
def test_a_shape_has_the_model_s_parameters(family: str, tied: bool) -> None:
    config = config_of(family, tie_word_embeddings=tied)
    assert shape(config).parameters == parameters(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_config_json_leaves_out(family: str) -> None:
    """It holds what differs from the family's defaults."""
    config = AutoConfig.for_model(family, **(SIZES | {"head_dim": 16}))
    assert shape_of(config.to_diff_dict()) == shape_of(config.to_dict())


def test_a_config_without_groups_or_head_size() -> None:
    numbers = {k: v for k, v in SIZES.items() if k != "num_key_value_heads"}
    found = shape_of({"model_type": "llama"} | numbers)
    assert found is not None
    assert (found.num_key_value_heads, found.head_dim) == (4, 16)
    assert not found.tie_word_embeddings


def test_the_text_part_of_a_larger_model() -> None:
    inside = {"model_type": "gemma3_text"} | SIZES
    assert shape_of({"model_type": "gemma3", "text_config": inside}) == shape_of(inside)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"model_type": "gpt2", "n_embd": 64, "n_layer": 2},
        {"model_type": "mixtral", "num_local_experts": 8} | SIZES,
        {"model_type": "llama"} | SIZES | {"hidden_size": "large"},
    ],
)
def test_another_kind_of_model_is_not_guessed_at(raw: dict[str, Any]) -> None:
    assert shape_of(raw) is None


def test_what_pruning_leaves() -> None:
    whole = shape(config_of("llama"))
    assert pruned(whole, None) is whole
    small = pruned(whole, PruneConfig(layers=(0, 2), heads=2, intermediate=100, hidden=48))
    assert (small.num_hidden_layers, small.hidden_size, small.intermediate_size) == (2, 48, 100)
    assert (small.num_attention_heads, small.num_key_value_heads, small.head_dim) == (2, 1, 16)
