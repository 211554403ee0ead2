"""Students are loaded, or there is one clear line of complaint."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mwalimu.errors import StudentError
from mwalimu.finetune.student import load_student
from tests.finetune.student.models import logits, student


def test_a_config_without_weights_starts_from_the_seed(tmp_path: Path, tiny: Path) -> None:
    shutil.copytree(tiny, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    models = [
        load_student(student(tmp_path / "bare", method="full"), seed=seed)[0] for seed in (1, 1, 2)
    ]
    first, same, other = map(logits, models)
    assert torch.equal(first, same) and not torch.equal(first, other)


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def torn_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llama", ')


def unknown_architecture(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "no_such_thing"}')


def torn_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def missing_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors.pop("model.norm.weight")
    save_file(tensors, path, metadata={"format": "pt"})


def other_shapes(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 40}))


def no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def an_adapter(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "base.json").write_text("{}")


def small_embedding(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 20}))
    (folder / "model.safetensors").unlink()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "damage",
    [
        empty,
        torn_config,
        unknown_architecture,
        torn_weights,
        missing_weight,
        other_shapes,
        no_tokenizer,
        small_embedding,
        an_adapter,
    ],
)
def test_a_broken_folder_is_one_line(tmp_path: Path, tiny: Path, damage: Any) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny, folder)
    damage(folder)
    with pytest.raises(StudentError) as caught:
        load_student(student(folder), seed=0)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["no/such-model", "not a / name//at all", "/no/such/folder"])
def test_an_unknown_name_is_one_line(name: str) -> None:
    with pytest.raises(StudentError) as caught:
        load_student(student(Path(name)), seed=0)
    assert "\n" not in str(caught.value)
