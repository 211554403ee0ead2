"""Bytes of weights and moments, against real models and optimisers."""

from typing import Any

import pytest
import torch

from mwalimu.data.quantised import quantise
from mwalimu.finetune import low_memory_adamw
from mwalimu.finetune.footprint import Lengths, weights
from mwalimu.finetune.footprint.weights import frozen_bytes, learned_bytes, optimiser_bytes
from mwalimu.finetune.optimiser import build_optimiser
from mwalimu.finetune.snapshot import OPTIMISER, Snapshot
from mwalimu.finetune.student.adapters import with_adapter
from tests.finetune.footprint.settings import FAMILIES, config_of, setting, student_of

LORA = {"method": "lora", "lora_rank": 4}
HALF = {"dtype": "bfloat16"}
SETTINGS: dict[str, dict[str, Any]] = {
    "full": {},
    "half precision": HALF,
    "embeddings frozen": {"freeze": ("embeddings",)},
    "norms and attention frozen": {"freeze": ("norms", "attention")},
    "layers frozen": {"freeze": ("mlp", "layers.0-1")},
    "LoRA": LORA,
    "LoRA on a base in half precision": LORA | {"autocast": True},
    "DoRA": LORA | {"method": "dora"},
    "LoRA and the head": LORA | HALF | {"unfreeze": ("head", "norms")},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", SETTINGS)
def test_weights_are_counted_to_the_byte(family: str, case: str) -> None:
    config = config_of(family)
    how = setting(config, Lengths(longest=8, targets=4), **SETTINGS[case])
    model = student_of(config, how)
    learned = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    assert learned_bytes(how) == learned
    assert frozen_bytes(how) == sum(p.nbytes for p in model.parameters()) - learned


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_a_base_in_8_bits(family: str) -> None:
    config = config_of(family)
    how = setting(config, Lengths(longest=8, targets=4), **LORA, base_bits=8)
    model = student_of(config, setting(config, how.lengths))
    quantise(model, 8, torch.device("cpu"))
    model = with_adapter(model, how.student, 0)
    own = [p for p in model.parameters() if not p.requires_grad]
    codes = [b for n, b in model.named_buffers() if n.endswith((".codes", ".scale"))]
    assert frozen_bytes(how) == sum(t.nbytes for t in (*own, *codes))


@pytest.mark.parametrize("optimiser", ["adamw", "adamw_8bit"])
@pytest.mark.parametrize("case", ["full", "half precision", "LoRA", "LoRA and the head"])
def test_moments_are_counted(optimiser: str, case: str) -> None:
    """But for steps, scales of a last block, and tensors too small for 8 bits."""
    config = config_of("llama", hidden_size=128, intermediate_size=352, head_dim=32)
    options = SETTINGS[case] | ({"lora_rank": 64} if case.startswith("LoRA") else {})
    how = setting(config, Lengths(longest=8, targets=4), **options, optimiser=optimiser)
    model = student_of(config, how)
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    real = build_optimiser(named, how.finetune)
    Snapshot(model, real)._make_states()
    held = Snapshot(model, real).tensors()[OPTIMISER]
    assert optimiser_bytes(how) == pytest.approx(sum(t.nbytes for t in held.values()), rel=0.02)


def test_the_optimiser_of_few_bits_works_as_is_assumed() -> None:
    assert weights._BLOCK == low_memory_adamw.BLOCK
    assert weights._SLABS == low_memory_adamw.SLABS
