"""What cannot be is refused from config.json alone, in one line, before anything is loaded."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mwalimu.config import StudentConfig
from mwalimu.data import quantised
from mwalimu.errors import MissingDependency, StudentError
from mwalimu.finetune.student import checks
from mwalimu.finetune.student.checks import blueprint, check_student
from tests.finetune.student.models import make_family, student

LONGROPE = {
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.5,
        "short_factor": [1.0, 1.1],
        "long_factor": [1.5, 2.0],
        "original_max_position_embeddings": 128,
    }
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"freeze": ["head"]}, "freeze contradicts method lora, .* unfreeze"),
        ({"method": "full", "freeze": ["heads"]}, "no part is called 'heads'; there are embedd"),
        ({"method": "full", "freeze": ["layers.4-2"]}, "'layers.4-2' ends before it begins"),
        ({"method": "full", "unfreeze": ["head"]}, "unfreeze contradicts method full"),
        ({"unfreeze": ["mlp"]}, "Input should be 'embeddings', 'head' or 'norms'"),
        ({"method": "full", "base_bits": 8}, "cannot be quantised; base_bits needs an adapter"),
        ({"method": "qlora", "base_bits": 16}, "qlora is an adapter on a quantised base"),
        ({"method": "full", "publish": "adapter"}, "no adapter that publish could keep apart"),
        ({"prune": {}}, "prune needs layers, hidden, heads or intermediate"),
        ({"prune": {"layers": [2, 1]}}, "from the lowest, each once"),
        ({"prune": {"layers": []}}, "from the lowest, each once"),
        ({"prune": {"layers": [-1]}}, "each once, from 0"),
        ({"prune": {"layers": 0}}, "at least one layer"),
        ({"prune": {"layers": [1], "layers_by": "influence"}}, "give layers as a number"),
        ({"method": "loha"}, "'full', 'lora', 'dora', 'rslora' or 'qlora'"),
    ],
)
def test_a_contradiction_is_refused_by_the_config(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        StudentConfig.model_validate({"model": "some/model"} | changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"method": "full", "freeze": ["layers.2-4"]}, "no layers.2-4; its layers are layers.0-3"),
        ({"lora_targets": ["q_proj", "wq"]}, "no matrix wq; it has down_proj, gate_proj, k_proj"),
        ({"prune": {"layers": 5}}, "5 are to stay, and the model has 4; ask for 4 or fewer"),
        ({"prune": {"layers": [0, 4]}}, "5 are to stay, and the model has 4"),
        ({"prune": {"hidden": 50}}, "50 are to stay, and the model has 48"),
        ({"prune": {"heads": 12}}, "12 are to stay, and the model has 6"),
        ({"prune": {"heads": 4}}, "heads go in groups of 3 .* use a multiple of 3"),
        ({"prune": {"intermediate": 65}}, "65 are to stay, and the model has 64"),
        ({"prune": {"hidden": 40}}, "is not a multiple of the number of attention heads"),
        (
            {"method": "full", "prune": {"layers": 2}, "freeze": ["layers.2"]},
            "no layers.2; its layers are layers.0-1",
        ),
    ],
)
def test_sizes_and_names_are_checked_before_anything_is_loaded(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    folder = make_family(tmp_path, "llama")
    (folder / "model.safetensors").write_bytes(b"no weights are read")
    with pytest.raises(StudentError, match=expected) as caught:
        check_student(student(folder, **changes))
    assert "\n" not in str(caught.value)


def test_what_can_be_passes(tmp_path: Path) -> None:
    folder = make_family(tmp_path, "gemma2")
    (folder / "model.safetensors").write_bytes(b"no weights are read")
    small = {"layers": 2, "hidden": 36, "heads": 3, "intermediate": 20}
    for changes in (
        {"prune": small, "method": "full", "freeze": ["layers.0-1", "embeddings"]},
        {"method": "dora", "lora_targets": ["q_proj"], "unfreeze": ["norms", "head"]},
    ):
        check_student(student(folder, **changes))
    model = blueprint(student(folder, prune=small))
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert model.config.num_hidden_layers == 2
    assert model.model.embed_tokens.weight.shape[1] == 36


def test_nothing_is_read_where_nothing_unusual_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "blueprint", lambda _config: pytest.fail("was read"))
    check_student(StudentConfig(model="some/model", method="dora", base_bits=8))


def test_missing_weights_cannot_be_pruned(tmp_path: Path) -> None:
    folder = make_family(tmp_path / "large", "llama")
    shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(StudentError, match="no weights of which some could stay"):
        check_student(student(tmp_path / "bare", prune={"layers": 2}))


def test_longrope_keeps_the_width_of_a_head(tmp_path: Path) -> None:
    folder = make_family(tmp_path, "phi3", **LONGROPE)
    with pytest.raises(StudentError, match=r"cannot be pruned so .*short_factor"):
        check_student(student(folder, prune={"hidden": 24}))
    check_student(student(folder, prune={"hidden": 24, "heads": 3, "layers": 2}))


def test_an_unknown_architecture_loses_layers_but_no_width(tmp_path: Path) -> None:
    folder = make_family(tmp_path, "gpt_neox")
    check_student(student(folder, prune={"layers": 2}))
    with pytest.raises(StudentError, match="is of no known kind"):
        check_student(student(folder, prune={"hidden": 24}))


def test_what_to_install_for_four_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependency, match=r"pip install 'mwalimu\[qlora\]'"):
        check_student(StudentConfig(model="some/model", method="qlora"))
