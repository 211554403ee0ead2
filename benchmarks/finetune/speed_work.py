"""The same model and rows for every arm. Needs torch and transformers alone."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import torch
from speed_cases import SHAPES, Case
from transformers import LlamaConfig, LlamaForCausalLM

LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
OPTIMISER = {"learning_rate": 1e-4, "weight_decay": 0.01, "max_grad_norm": 1.0}


class Row(NamedTuple):
    """The first `prompt` ids have no loss."""

    ids: list[int]
    prompt: int


def model_of(case: Case, device: torch.device) -> Any:
    """In float32; what a GPU does not train is in bfloat16 there."""
    shape = SHAPES[case.shape]
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        tie_word_embeddings=True,
        max_position_embeddings=8192,
        pad_token_id=0,
        use_cache=False,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = LlamaForCausalLM(config)
    if case.method == "lora":
        from peft import LoraConfig, get_peft_model

        frozen = torch.bfloat16 if device.type == "cuda" else torch.float32
        model = get_peft_model(model.to(frozen), LoraConfig(**LORA))
    return model.train()


def rows_of(case: Case, steps: int) -> list[Row]:
    """Enough for so many optimiser steps: no epoch ends while time is taken."""
    rng = random.Random(0)
    vocabulary = SHAPES[case.shape].vocabulary
    rows = []
    for _ in range(case.rows * steps):
        length = rng.randint(case.shortest, case.longest)
        answer = max(1, round(case.answer * length))
        rows.append(Row([rng.randrange(1, vocabulary) for _ in range(length)], length - answer))
    return rows
