"""Tiny members of the families with every quirk that pruning meets, and what is common to tests."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mwalimu.config import StudentConfig
from tests.tiny import make_tokenizer

HIDDEN, HEADS, GROUPS, HEAD_DIM, NEURONS = 48, 6, 2, 8, 64
IDS_BT = torch.arange(8, 60)[None]
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama, tied": {"tie_word_embeddings": True},
    "phi3": {"rms_norm_eps": 1e-6},  # qkv and gate_up are fused
    "qwen2": {"tie_word_embeddings": True},  # biases
    "qwen3": {},  # norms inside heads
    "mistral": {},
    "gemma2": {},  # scaled embeddings, gains less one, four norms a layer, two kinds of layers
    "gemma3_text": {},
    "gemma3_text, untied": {"tie_word_embeddings": False},
    "smollm3": {},  # layers without positions
}
four_bits = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes")


def make_family(folder: Path, name: str, **settings: Any) -> Path:
    """Random and loud: weights of 0.2, gains and biases of their own; four layers unless told."""
    tokenizer = make_tokenizer()
    config = AutoConfig.for_model(
        name.partition(",")[0],
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=NEURONS,
        num_attention_heads=HEADS,
        num_key_value_heads=GROUPS,
        head_dim=HEAD_DIM,
        max_position_embeddings=256,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **{"num_hidden_layers": 4} | FAMILIES.get(name, {}) | settings,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if "norm" in path:
                parameter.add_(0.3 * torch.rand_like(parameter))
            if "bias" in path:
                parameter.normal_(std=0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=IDS_BT).logits
    return found


def student(model: Path, **changes: Any) -> StudentConfig:
    return StudentConfig.model_validate({"model": str(model), "max_length": 64} | changes)


def jolt(model: Any) -> None:
    """An adapter starts as nothing; this one says something."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
            if "magnitude" in name:
                parameter.mul_(1 + 0.2 * torch.rand_like(parameter))
