"""All slots in one forward pass against a slot of its own, on models of several attentions."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mwalimu.data.loading import load_causal_lm
from mwalimu.runtimes.batched_decoder import BatchedDecoder, can_batch
from mwalimu.runtimes.transformers_decoder import TransformersDecoder
from tests.tiny import make_tiny_model, make_tokenizer

SLOTS = 4


def model_of(arch: str, **options: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        arch,
        vocab_size=100,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **options,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).float().eval()


LONGROPE = {
    "original_max_position_embeddings": 24,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
        "original_max_position_embeddings": 24,
    },
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "qwen2": ("qwen2", {}),
    "a window in every layer": ("mistral", {"sliding_window": 8}),
    "a window in one layer": (
        "gemma3_text",
        {
            "sliding_window": 8,
            "head_dim": 8,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "two sets of frequencies": ("phi3", LONGROPE),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    arch, options = MODELS[request.param]
    return model_of(arch, **options)


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_calls_gives_what_a_slot_alone_gives(model: Any, seed: int) -> None:
    assert can_batch(model)
    chance = random.Random(seed)
    batched, alone = BatchedDecoder(model, slots=SLOTS), TransformersDecoder(model, slots=SLOTS)
    running: list[int] = []
    compared = 0
    for _ in range(120):
        free = [slot for slot in range(SLOTS) if slot not in running]
        if free and chance.random() < 0.3:
            slot = chance.choice(free)
            ids = [chance.randrange(3, 100) for _ in range(chance.randint(1, 40))]
            np.testing.assert_allclose(
                batched.prefill(slot, ids), alone.prefill(slot, ids), rtol=1e-3, atol=1e-4
            )
            running.append(slot)
        elif running and chance.random() < 0.1:
            slot = running.pop(chance.randrange(len(running)))
            batched.release(slot)
            alone.release(slot)
        elif running:
            # Now and then some of the slots wait.
            some = chance.sample(running, chance.choice([len(running)] * 3 + [1]))
            tokens = {slot: chance.randrange(3, 100) for slot in some}
            ours, theirs = batched.step(tokens), alone.step(tokens)
            assert ours.keys() == theirs.keys() == tokens.keys()
            for slot in tokens:
                np.testing.assert_allclose(ours[slot], theirs[slot], rtol=1e-3, atol=1e-4)
                compared += 1
    assert compared > 60


def test_the_cache_shrinks_when_a_long_sequence_ends(model: Any) -> None:
    decoder = BatchedDecoder(model, slots=SLOTS)
    decoder.prefill(0, [5] * 400)
    decoder.prefill(1, [7])
    decoder.step({0: 5, 1: 6})
    decoder.release(0)
    for _ in range(300):
        decoder.step({1: 8})
    cache: Any = decoder._cache
    assert cache.columns.rows == 1 and cache.columns.width == 302
    decoder.release(1)
    decoder.prefill(2, [7])
    for _ in range(400):
        decoder.step({2: 9})
    decoder.release(2)
    assert cache.columns.width == 0
    assert cache.layers[0].keys.shape[2] <= 1.5 * 401 + 64


def test_a_model_with_another_kind_of_state_is_not_batched() -> None:
    mixed = model_of("lfm2", layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False)
    assert not can_batch(mixed)


def test_loading_chooses(tmp_path: Path) -> None:
    from mwalimu.runtimes import load_decoder

    folder = make_tiny_model(tmp_path / "model", tokenizer=make_tokenizer())
    assert isinstance(load_decoder(folder, slots=2), BatchedDecoder)
    assert isinstance(load_decoder(folder), TransformersDecoder)
    assert load_causal_lm(str(folder))
