"""Small models of the families, and settings that describe their training."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.finetune.footprint import Lengths, Setting, Shape, shape_of
from mwalimu.finetune.student.adapters import with_adapter
from mwalimu.finetune.student.parts import freeze, unfreeze

FAMILIES = ("llama", "phi3", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3_text")
SIZES: dict[str, Any] = {
    "vocab_size": 500,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
DTYPES = {"auto": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16}


class Forced(Setting):
    """Half-precision arithmetic, which is CUDA's automatic choice, on a CPU."""

    autocast = True


def config_of(family: str, **sizes: Any) -> Any:
    sizes = SIZES | {"head_dim": 16} | sizes
    return AutoConfig.for_model(family, **sizes)


def setting(
    config: Any, lengths: Lengths, *, autocast: bool = False, teacher: Any = None, **changes: Any
) -> Setting:
    """`changes` are settings of both sections: their names are different."""
    training = {k: v for k, v in changes.items() if k in FinetuneConfig.model_fields}
    student = {k: v for k, v in changes.items() if k not in training}
    kind = Forced if autocast else Setting
    dtype = "auto" if autocast else "float32"
    return kind(
        shape=shape(config),
        student=StudentConfig(**({"model": "x", "method": "full", "dtype": dtype} | student)),
        finetune=FinetuneConfig(**training),
        lengths=lengths,
        teacher=teacher,
    )


def shape(config: Any) -> Shape:
    found = shape_of(config.to_dict())
    assert found is not None
    return found


def student_of(config: Any, how: Setting, seed: int = 0) -> Any:
    """As training loads it, but for files."""
    torch.manual_seed(seed)
    half = how.precision.frozen == 2
    dtype = torch.bfloat16 if half else DTYPES[how.student.dtype]
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    freeze(model, how.student.freeze)
    if not how.student.adapts:
        return model
    model = with_adapter(model, how.student, seed)
    unfreeze(model, how.student.unfreeze, DTYPES[how.student.dtype])
    return model
