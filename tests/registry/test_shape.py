"""Sizes out of a shape are those of the real classes, and memory is what its terms say."""

import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from mwalimu.registry import Shape, Student
from mwalimu.registry.catalogue import catalogue

# What the hub says of the checkpoints, by their safetensors.
PUBLISHED = {
    "phi-4-mini": 3_836_021_760,
    "phi-3.5-mini": 3_821_079_552,
    "phi-3-mini-4k": 3_821_079_552,
    "phi-3-mini-128k": 3_821_079_552,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.2-1b": 1_235_814_400,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "gemma-2-2b": 2_614_341_888,
    "gemma-3-1b": 999_885_952,
    "gemma-3-4b": 4_300_079_472 - 419_816_304,  # less the vision tower and its projector
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "mistral-7b-v0.3": 7_248_023_552,
}
OF_EACH_KIND = (
    "phi-4-mini",
    "phi-3.5-mini",
    "llama-3.2-1b",
    "qwen2.5-0.5b",
    "qwen2.5-7b",
    "qwen3-0.6b",
    "gemma-2-2b",
    "gemma-3-1b",
    "mistral-7b-v0.3",
)
STUDENTS = list(catalogue().students.values())


def model_of(shape: Shape) -> Any:
    """The real class, without storage."""
    values = {name: getattr(shape, name) for name in Shape.__dataclass_fields__}
    config = AutoConfig.for_model(
        values.pop("model_type"), **values, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("student", STUDENTS, ids=lambda student: student.name)
def test_parameters_are_those_that_are_published(student: Student) -> None:
    assert student.shape.parameters == PUBLISHED[student.name]


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_the_real_class_has_as_many_parameters_and_as_large_adapters(name: str) -> None:
    shape = replace(catalogue().students[name].shape, num_hidden_layers=2)
    model = model_of(shape)
    assert model.num_parameters() == shape.parameters
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        # peft asks transformers by names that transformers is about to drop.
        warnings.simplefilter("ignore", FutureWarning)
        with torch.device("meta"):
            adapted = get_peft_model(model, lora)
    added = sum(p.numel() for n, p in adapted.named_parameters() if "lora_" in n)
    assert added == shape.adapter_parameters(4)


def test_memory_by_hand() -> None:
    shape = Shape(
        model_type="llama",
        vocab_size=10,
        hidden_size=4,
        intermediate_size=6,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=3,
        tie_word_embeddings=False,
    )
    # q 4x6, k and v 4x3, o 6x4, gate and up 4x6, down 6x4; norms 3x4; embedding and head 2x40.
    matrices = 24 + 12 + 12 + 24 + 24 + 24 + 24
    assert shape.parameters == matrices + 12 + 80
    adapter = 16 * (10 + 7 + 7 + 10 + 10 + 10 + 10)
    assert shape.adapter_parameters() == adapter
    assert shape.full_bytes == 16 * (matrices + 92)
    assert shape.adapted_bytes() == 2 * (matrices + 92) + 16 * adapter
    assert shape.adapted_bytes(8, rank=32) == matrices + 2 * 92 + 32 * adapter
    assert shape.adapted_bytes(4) == pytest.approx(matrices * 0.515875 + 2 * 92 + 16 * adapter)
