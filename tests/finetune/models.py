"""Tiny models, rows and batches for the tests of forward pass and objective."""

import random
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mwalimu.data.collate import Batch, collate
from mwalimu.data.tokenize import Encoded

VOCABULARY = 50
ARCHITECTURES = ("llama", "phi3", "qwen2", "gemma2")


def make_model(arch: str = "llama") -> Any:
    config = AutoConfig.for_model(
        arch,
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config)


def make_rows(count: int) -> list[Encoded]:
    rng = random.Random(0)
    rows = []
    for _ in range(count):
        prompt, answer = rng.randrange(1, 20), rng.randrange(1, 6)
        ids = [rng.randrange(VOCABULARY) for _ in range(prompt + answer)]
        rows.append(Encoded.of(ids, [False] * prompt + [True] * answer))
    return rows


def to_batches(rows: list[Encoded], size: int) -> list[Batch]:
    starts = range(0, len(rows), size)
    cpu = torch.device("cpu")
    return [collate(rows[start : start + size], pad_id=0, device=cpu) for start in starts]
