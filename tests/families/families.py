"""Every family of students, tiny: the real config class with its quirks, its kind of tokenizer,
its chat template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.families import templates
from tests.families.vocabularies import byte_level, sentencepiece

LIMIT = 64  # of the tiny longrope: positions up to which the short factors hold
HALF = 4  # rotary pairs of a head of 8
TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


@dataclass(frozen=True)
class Family:
    """`end` ends a turn; `quirks` are of the config, `padding` rows of the embedding without a
    token."""

    model_type: str
    tokenizer: Callable[[], Any]
    template: str
    end: str
    quirks: dict[str, Any] = field(default_factory=dict)
    padding: int = 0


def phi3_tokenizer() -> Any:
    """Its control tokens swallow the white space after them."""
    return sentencepiece(
        ["<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"],
        "prepend",
        rstrip=True,
        bos_token="<s>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    )


def phi4_tokenizer() -> Any:
    """One token is bos, eos, padding and unknown."""
    one = "<|endoftext|>"
    control = [one, "<|system|>", "<|end|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|/tool|>"]
    return byte_level(control, bos_token=one, eos_token=one, pad_token=one, unk_token=one)


def llama3_tokenizer() -> Any:
    """Without a padding token."""
    headers = ["<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>"]
    control = ["<|begin_of_text|>", "<|end_of_text|>", *headers]
    return byte_level(control, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")


def qwen_tokenizer() -> Any:
    """Thoughts and tool calls are marked by tokens that are text."""
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    words = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
    return byte_level(control, words=words, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def smollm_tokenizer() -> Any:
    return byte_level(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
    )


def gemma_tokenizer() -> Any:
    """The end of a text is not that of a turn."""
    return sentencepiece(
        ["<pad>", "<start_of_turn>", "<end_of_turn>"],
        "plain",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
    )


def gemma_tokenizer_of_plain_tokens() -> Any:
    """As where the tokens of a turn are added, but not called special."""
    return sentencepiece(
        ["<start_of_turn>", "<end_of_turn>"],
        "plain",
        special=False,
        bos_token="<s>",
        eos_token="</s>",
    )


def mistral_tokenizer() -> Any:
    return sentencepiece(["[INST]", "[/INST]"], "first", bos_token="<s>", eos_token="</s>")


def longrope(*, share: float = 1.0, pairs: int = HALF) -> dict[str, Any]:
    """Two sets of factors, the one up to LIMIT positions and the other beyond."""
    return {
        "max_position_embeddings": 4 * LIMIT,
        "original_max_position_embeddings": LIMIT,
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "partial_rotary_factor": share,
            "short_factor": [1.0 + 0.05 * i for i in range(pairs)],
            "long_factor": [1.0 + 0.9 * i for i in range(pairs)],
            "original_max_position_embeddings": LIMIT,
        },
    }


LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
GEMMA2_QUIRKS = {
    "attn_logit_softcapping": 5.0,
    "final_logit_softcapping": 8.0,
    "query_pre_attn_scalar": 16,
    "sliding_window": 8,
    "head_dim": 8,
    "tie_word_embeddings": True,
    "hidden_activation": "gelu_pytorch_tanh",
}
GEMMA3_QUIRKS = {
    "query_pre_attn_scalar": 16,
    "sliding_window": 8,
    "head_dim": 8,
    "layer_types": ["sliding_attention", "full_attention"],
    "tie_word_embeddings": True,
}

FAMILIES: dict[str, Family] = {
    "phi-3-mini-4k": Family(
        "phi3",
        phi3_tokenizer,
        templates.PHI3,
        "<|end|>",
        {"sliding_window": 24, "num_key_value_heads": 4},
    ),
    "phi-3.5-mini": Family(
        "phi3",
        phi3_tokenizer,
        templates.PHI3,
        "<|end|>",
        {"num_key_value_heads": 4} | longrope(),
    ),
    "phi-4-mini": Family(
        "phi3",
        phi4_tokenizer,
        templates.PHI4_MINI,
        "<|end|>",
        {"tie_word_embeddings": True} | longrope(share=0.75, pairs=3),
    ),
    "llama-3.1": Family(
        "llama",
        llama3_tokenizer,
        templates.LLAMA3_1,
        "<|eot_id|>",
        {"rope_parameters": LLAMA3_ROPE},
    ),
    "llama-3.2": Family(
        "llama",
        llama3_tokenizer,
        templates.LLAMA3_2,
        "<|eot_id|>",
        {"rope_parameters": LLAMA3_ROPE | {"factor": 32.0}, "tie_word_embeddings": True},
    ),
    "qwen2.5": Family(
        "qwen2", qwen_tokenizer, templates.QWEN2, "<|im_end|>", {"tie_word_embeddings": True}, 25
    ),
    "qwen2.5-7b": Family(
        "qwen2", qwen_tokenizer, templates.QWEN2, "<|im_end|>", {"tie_word_embeddings": False}, 153
    ),
    "qwen3": Family(
        "qwen3",
        qwen_tokenizer,
        templates.QWEN3,
        "<|im_end|>",
        {"head_dim": 16, "tie_word_embeddings": True},
        25,
    ),
    "gemma-2": Family("gemma2", gemma_tokenizer, templates.GEMMA2, "<end_of_turn>", GEMMA2_QUIRKS),
    "gemma-3": Family(
        "gemma3_text", gemma_tokenizer, templates.GEMMA3, "<end_of_turn>", GEMMA3_QUIRKS
    ),
    "smollm2": Family(
        "llama", smollm_tokenizer, templates.SMOLLM2, "<|im_end|>", {"tie_word_embeddings": True}
    ),
    "mistral-v0.3": Family("mistral", mistral_tokenizer, templates.MISTRAL, "</s>"),
    "mistral-v0.1": Family(
        "mistral", mistral_tokenizer, templates.MISTRAL, "</s>", {"sliding_window": 24}
    ),
}


def tokenizer_of(family: Family) -> Any:
    tokenizer = family.tokenizer()
    tokenizer.chat_template = family.template
    return tokenizer


def make(folder: Path, name: str, *, spread: float = 0.3, seed: int = 0, **changes: Any) -> Path:
    """A random model of the family in `folder`, with opinions, so that a wrong token shows."""
    family = FAMILIES[name]
    tokenizer = tokenizer_of(family)
    values = TINY | {
        "vocab_size": len(tokenizer) + family.padding,
        "initializer_range": spread,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = AutoConfig.for_model(family.model_type, **values | family.quirks | changes)
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
