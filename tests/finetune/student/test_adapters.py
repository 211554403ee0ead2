"""Adapters by their papers' formulas, trained in half precision, merged and kept apart."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from mwalimu.data.quantised import FrozenLinear, parameter_count
from mwalimu.errors import StudentError
from mwalimu.finetune.student import load_student
from mwalimu.finetune.student.adapters import adaptable, merged
from mwalimu.objectives.forward import Forward
from tests.finetune.student.models import four_bits, jolt, logits, make_family, student

BITS = [16, 8, pytest.param(4, marks=four_bits)]
RANK, ALPHA = 4, 12


def loaded(folder: Path, method: str, **changes: Any) -> Any:
    settings = {"method": method, "lora_rank": RANK, "lora_alpha": ALPHA} | changes
    model, _ = load_student(student(folder, **settings), seed=1)
    jolt(model)
    return model


def expected(layer: Any, method: str) -> torch.Tensor:
    """What the papers say that the layer computes with, in float64."""
    frozen = layer.base_layer.weight.double()
    down, up = (side["default"].weight.double() for side in (layer.lora_A, layer.lora_B))
    scale = ALPHA / (RANK**0.5 if method == "rslora" else RANK)
    moved = frozen + scale * up @ down
    if method != "dora":
        return moved
    magnitude = layer.lora_magnitude_vector["default"].weight.double()
    return magnitude[:, None] * moved / moved.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("method", ["lora", "dora", "rslora"])
def test_a_merged_matrix_is_the_papers(tiny: Path, method: str, bits: int) -> None:
    model = loaded(tiny, method, base_bits=bits)
    said = logits(model)
    layers = {
        name.removeprefix("base_model.model."): expected(module, method)
        for name, module in model.named_modules()
        if hasattr(module, "lora_A")
    }
    assert len(layers) == 14
    plain = merged(model)
    assert not any(isinstance(m, FrozenLinear) for m in plain.modules())
    for name, weight in layers.items():
        found = plain.get_submodule(name).weight.double()
        torch.testing.assert_close(found, weight, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(logits(plain), said, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["lora", "dora", "rslora"])
def test_half_precision_is_rounded_to_once(tiny: Path, method: str) -> None:
    model = loaded(tiny, method, dtype="bfloat16")
    weights = {n: expected(m, method) for n, m in model.named_modules() if hasattr(m, "lora_A")}
    plain = merged(model)
    for name, weight in weights.items():
        found = plain.get_submodule(name.removeprefix("base_model.model.")).weight
        assert found.dtype == torch.bfloat16
        # float32 before the rounding may fall on the other side of half a step, rarely.
        assert (found == weight.bfloat16()).float().mean() > 0.99


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("method", ["lora", "dora", "rslora"])
def test_it_learns_under_autocast(tiny: Path, method: str, bits: int) -> None:
    model = loaded(tiny, method, base_bits=bits)
    forward = Forward(model, autocast=True)
    positions_N = torch.tensor([3, 5, 9])
    states = forward(torch.arange(8, 20)[None], positions_N)
    states.logits().square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == ("lora_" in name)
        if parameter.requires_grad:
            assert parameter.dtype == torch.float32
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


def test_a_new_adapter_changes_nothing(tiny: Path) -> None:
    plain, _ = load_student(student(tiny, method="full"), seed=0)
    for method in ("lora", "dora", "rslora"):
        model, _ = load_student(student(tiny, method=method), seed=0)
        torch.testing.assert_close(logits(model), logits(plain), rtol=1e-5, atol=1e-6)


@four_bits
def test_qlora_is_lora_on_four_bits(tiny: Path) -> None:
    model = loaded(tiny, "qlora")
    layers = [m.base_layer for m in model.modules() if hasattr(m, "lora_A")]
    assert {type(layer) for layer in layers} == {FrozenLinear}
    assert {layer.bits for layer in layers} == {4}
    assert torch.equal(logits(model), logits(loaded(tiny, "lora", base_bits=4)))


def test_named_matrices_alone_are_adapted(tiny: Path) -> None:
    model = loaded(tiny, "lora", lora_targets=["q_proj", "down_proj"])
    adapted = {n.rpartition(".")[2] for n, m in model.named_modules() if hasattr(m, "lora_A")}
    assert adapted == {"q_proj", "down_proj"}


@pytest.mark.parametrize("name", ["lm_head", "embed_tokens", "query"])
def test_an_unknown_matrix_is_refused_with_those_there_are(tmp_path: Path, name: str) -> None:
    folder = make_family(tmp_path, "phi3")
    with pytest.raises(StudentError, match=f"no matrix {name}.*down_proj, gate_up_proj, o_proj"):
        load_student(student(folder, lora_targets=[name]), seed=0)


def test_what_is_unfrozen_learns_beside_the_adapter(tmp_path: Path) -> None:
    folder = make_family(tmp_path, "llama, tied")
    model = loaded(folder, "lora", unfreeze=["embeddings", "norms"])
    own = {n for n, p in model.named_parameters() if p.requires_grad and "lora_" not in n}
    assert sum("embed_tokens" in name for name in own) == 1
    assert sum("norm" in name for name in own) == 9
    assert len(own) == 10
    embeddings = model.get_input_embeddings().weight
    with torch.no_grad():
        embeddings.add_(1)
    said = logits(model)
    plain = merged(model)
    assert plain.get_output_embeddings().weight is plain.get_input_embeddings().weight
    torch.testing.assert_close(logits(plain), said, rtol=1e-4, atol=1e-5)


def test_a_quantised_base_counts_like_any_other(tiny: Path) -> None:
    plain, _ = load_student(student(tiny, method="full"), seed=0)
    model = loaded(tiny, "lora", base_bits=8)
    assert isinstance(model, PeftModel)
    added = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert parameter_count(model) - added == parameter_count(plain)
    assert adaptable(plain) == sorted(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )
