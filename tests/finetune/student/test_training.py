"""Every method trains, is resumed to the same bytes, and says what it did."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from mwalimu.data.loading import load_causal_lm
from mwalimu.errors import TrainingError
from mwalimu.finetune.finetune import train_student
from mwalimu.finetune.student import publishing
from tests.finetune.jobs import settings, sums
from tests.finetune.student.models import four_bits, logits, make_family, student

METHODS = [
    {"method": "dora"},
    {"method": "rslora", "unfreeze": ["embeddings"]},
    {"method": "lora", "base_bits": 8, "lora_dropout": 0.1},
    {"method": "dora", "base_bits": 8},
    pytest.param({"method": "qlora"}, marks=four_bits),
    {"method": "lora", "publish": "adapter"},
    {"method": "full", "freeze": ["embeddings", "layers.0-1"]},
    {"method": "full", "prune": {"layers": 2, "layers_by": "influence", "hidden": 42}},
]


def train(model: Path, folder: Path, on_progress: Any = None, **changes: Any) -> dict[str, Any]:
    return train_student(
        student(model, **changes),
        settings(learning_rate=1e-2, save_every=2),
        sums(24),
        None,
        folder,
        seed=3,
        stage_fingerprint="stage",
        on_progress=on_progress or (lambda *_: None),
    )


def published(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (folder / "student").iterdir()}


def ctrl_c_at(step: int) -> Callable[..., None]:
    pressed = []

    def on_progress(_label: str, done: int, _total: int, text: str) -> None:
        if done == step and "loss" in text and not pressed:
            pressed.append(True)
            signal.raise_signal(signal.SIGINT)

    return on_progress


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_family(tmp_path_factory.mktemp("model"), "llama, tied", num_hidden_layers=3)


@pytest.mark.parametrize("changes", METHODS, ids=lambda changes: " ".join(map(str, changes)))
def test_an_interrupted_training_ends_with_the_same_bytes(
    tmp_path: Path, model: Path, changes: dict[str, Any]
) -> None:
    train(model, tmp_path / "whole", **changes)
    with pytest.raises(KeyboardInterrupt):
        train(model, tmp_path / "stopped", ctrl_c_at(4), **changes)
    assert (tmp_path / "stopped" / "checkpoints" / "step-4").is_dir()
    notes: list[str] = []
    train(model, tmp_path / "stopped", lambda *call: notes.append(call[-1]), **changes)
    assert any("step 4" in note for note in notes)
    files, expected = published(tmp_path / "stopped"), published(tmp_path / "whole")
    assert files.keys() == expected.keys()
    differing = [n for n in files if files[n] != expected[n]]
    assert not differing
    weights = next(name for name in files if name.endswith(".safetensors"))
    untouched = load_file(model / "model.safetensors")
    trained = load_file(tmp_path / "whole" / "student" / weights)
    assert any(n not in untouched or not trained[n].equal(untouched[n]) for n in trained)


@pytest.mark.parametrize(
    "changes", [{"method": "lora", "base_bits": 8}, {"method": "dora", "unfreeze": ["norms"]}]
)
def test_a_checkpoint_holds_what_learns_alone(
    tmp_path: Path, model: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(model, tmp_path, ctrl_c_at(3), **changes)
    held = load_file(tmp_path / "checkpoints" / "step-3" / "model.safetensors")
    words = ("lora_", "norm") if "unfreeze" in changes else ("lora_",)
    assert held and all(any(word in name for word in words) for name in held)


def test_a_frozen_part_is_as_it_was_and_the_rest_is_not(tmp_path: Path, model: Path) -> None:
    summary = train(model, tmp_path, method="full", freeze=["embeddings", "layers.0-1"])
    before = load_file(model / "model.safetensors")
    after = load_file(tmp_path / "student" / "model.safetensors")
    frozen = {n for n in before if "embed_tokens" in n or ".layers.0." in n or ".layers.1." in n}
    assert {n for n in before if after[n].equal(before[n])} == frozen
    sizes = {n: tensor.numel() for n, tensor in before.items()}
    assert summary["parameters"] == sum(sizes.values())
    assert summary["trained_parameters"] == sum(sizes[n] for n in sizes.keys() - frozen)


def test_tied_embeddings_are_said_to_be_one(tmp_path: Path, model: Path) -> None:
    notes: list[str] = []
    train(model, tmp_path, lambda *call: notes.append(call[-1]), method="full", freeze=["head"])
    assert any("one matrix" in note for note in notes)


def test_a_quantised_base_is_counted_in_numbers(tmp_path: Path, model: Path) -> None:
    summary = train(model, tmp_path, method="lora", base_bits=8)
    sizes = [tensor.numel() for tensor in load_file(model / "model.safetensors").values()]
    assert summary["parameters"] == sum(sizes)
    assert 0 < summary["merge_error"] < summary["merge_tolerance"]


def test_what_was_published_apart_is_what_was_trained(tmp_path: Path, model: Path) -> None:
    train(model, tmp_path / "apart", method="dora", publish="adapter")
    train(model, tmp_path / "merged", method="dora")
    apart, _ = load_causal_lm(str(tmp_path / "apart" / "student"))
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged" / "student")
    torch.testing.assert_close(logits(apart), logits(merged), rtol=1e-3, atol=1e-3)


def test_a_refused_merge_loses_no_training(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(publishing, "merged", lambda adapted: adapted.unload())
        with pytest.raises(TrainingError, match="nothing is trained again"):
            train(model, tmp_path, method="lora")
    notes: list[str] = []
    train(
        model,
        tmp_path,
        lambda *call: notes.append(call[-1]),
        method="lora",
        publish="adapter",
    )
    assert any("step 6" in note for note in notes)
    assert (tmp_path / "student" / "adapter_model.safetensors").is_file()


def test_a_pruned_student_says_where_it_comes_from(tmp_path: Path, model: Path) -> None:
    train(model, tmp_path, method="full", prune={"layers": 2})
    facts = json.loads((tmp_path / "pruned" / "pruned.json").read_text())
    assert (facts["from"], facts["layers"]) == (str(model), [0, 2])
    small = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    assert small.config.num_hidden_layers == 2
