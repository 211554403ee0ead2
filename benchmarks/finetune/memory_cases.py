"""Trainings whose peak memory is predicted and measured: shapes, methods, lengths, precisions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

SMALL: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 8000,
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 8,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "tie_word_embeddings": False,
}
PHI = SMALL | {"model_type": "phi3", "vocab_size": 32064, "tie_word_embeddings": True}
QWEN = SMALL | {"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 256, "head_dim": 64}
QWEN |= {"num_attention_heads": 4, "tie_word_embeddings": True, "num_hidden_layers": 4}
GEMMA = SMALL | {"model_type": "gemma2", "vocab_size": 64000, "tie_word_embeddings": True}
WIDE = SMALL | {"hidden_size": 768, "intermediate_size": 2048, "num_attention_heads": 12}
WIDE |= {"num_key_value_heads": 4, "vocab_size": 32000}
TINY = SMALL | {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2}
TINY |= {"num_attention_heads": 2, "head_dim": 24, "vocab_size": 256}


@dataclass(frozen=True, slots=True)
class Case:
    """`length` tokens a row, of which `targets` are learned; `words` are the
    tokens of the tokenizer.

    With `shortest` rows have any length from there on, and learn as large a part.

    `teacher`: "" for text alone, "cached" for the 50 best tokens, "live" for a model of this shape.
    `autocast`: half-precision arithmetic as on CUDA, forced on a CPU.
    """

    name: str
    shape: dict[str, Any]
    length: int
    targets: int
    student: dict[str, Any] = field(default_factory=lambda: {"method": "full"})
    finetune: dict[str, Any] = field(default_factory=dict)
    teacher: str = ""
    words: int = 10
    shortest: int = 0
    validates: bool = True
    autocast: bool = False


LORA = {"method": "lora", "lora_rank": 16}
DORA = {"method": "dora", "lora_rank": 16}
BF16 = {"dtype": "bfloat16"}


def tiny_of(case: Case) -> Case:
    """A training of the same kind that takes next to nothing: what it takes is the libraries'."""
    sizes = TINY | {"model_type": case.shape["model_type"]}
    kept = {"objective", "optimiser", "activation_checkpointing"} & case.finetune.keys()
    finetune = {"batch_size": 2} | {name: case.finetune[name] for name in kept}
    return replace(case, shape=sizes, length=16, targets=8, finetune=finetune, words=10, shortest=0)


CASES = {
    case.name: case
    for case in (
        Case(
            "llama full, V 32k", SMALL | {"vocab_size": 32000}, 256, 128, finetune={"batch_size": 4}
        ),
        Case("llama full, long rows", SMALL, 1024, 128, finetune={"batch_size": 2}),
        Case("llama full, short rows", WIDE, 48, 16, finetune={"batch_size": 8}),
        Case(
            "llama full, 4 micro-batches",
            SMALL | {"vocab_size": 32000},
            256,
            128,
            finetune={"batch_size": 2, "accumulation": 4},
        ),
        Case(
            "llama full, bfloat16",
            SMALL | {"vocab_size": 32000},
            256,
            128,
            {"method": "full"} | BF16,
            {"batch_size": 4},
        ),
        Case("llama LoRA", SMALL | {"vocab_size": 32000}, 512, 128, LORA, {"batch_size": 4}),
        Case(
            "llama LoRA, dropout",
            SMALL,
            512,
            128,
            LORA | {"lora_dropout": 0.1},
            {"batch_size": 2},
        ),
        Case("llama LoRA, bfloat16", SMALL, 512, 128, LORA | BF16, {"batch_size": 4}),
        Case("llama DoRA", SMALL, 256, 128, DORA, {"batch_size": 2}),
        Case("phi3 full, tied", PHI, 512, 256, finetune={"batch_size": 3}),
        Case("phi3 LoRA", PHI, 512, 256, LORA, {"batch_size": 4}),
        Case("qwen2 full, V 152k", QWEN, 256, 128, finetune={"batch_size": 4}),
        Case("qwen2 LoRA, V 152k", QWEN, 256, 256 - 16, LORA, {"batch_size": 4}),
        Case("gemma2 full, capped", GEMMA, 256, 64, finetune={"batch_size": 3}),
        Case(
            "llama full, frozen embeddings",
            SMALL | {"vocab_size": 32000},
            256,
            128,
            {"method": "full", "freeze": ["embeddings", "head", "layers.0-0"]},
            {"batch_size": 4},
        ),
        Case(
            "llama full, cached teacher",
            SMALL,
            512,
            256,
            finetune={"batch_size": 2, "objective": "forward_kl"},
            teacher="cached",
        ),
        Case(
            "llama LoRA, live teacher",
            SMALL,
            256,
            128,
            LORA,
            {"batch_size": 2, "objective": "forward_kl"},
            teacher="live",
            words=8000 - 8,
        ),
        Case(
            "llama full, packed",
            SMALL,
            256,
            128,
            finetune={"batch_size": 16, "tokens_per_pass": 1024},
            shortest=40,
        ),
        Case(
            "phi3 LoRA, packed, checkpointing",
            PHI,
            512,
            256,
            LORA,
            {"batch_size": 16, "tokens_per_pass": 3000, "activation_checkpointing": "on"},
            shortest=100,
        ),
        Case(
            "llama full, checkpointing",
            SMALL | {"vocab_size": 32000},
            1024,
            128,
            finetune={"batch_size": 2, "activation_checkpointing": "on"},
        ),
        Case(
            "llama full, 8-bit optimiser",
            WIDE,
            128,
            64,
            finetune={"batch_size": 4, "optimiser": "adamw_8bit"},
        ),
        Case(
            "llama full, autocast",
            SMALL | {"vocab_size": 32000},
            256,
            128,
            finetune={"batch_size": 3},
            autocast=True,
        ),
        Case("llama LoRA, autocast", SMALL, 256, 128, LORA, {"batch_size": 4}, autocast=True),
    )
}
