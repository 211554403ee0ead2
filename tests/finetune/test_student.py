"""Students are loaded with one clear line of complaint, and published as plain folders."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from mwalimu.data.tokenize import encode_prompt
from mwalimu.errors import StudentError, TrainingError
from mwalimu.finetune.student import load_student, save_student
from tests.finetune.jobs import student
from tests.tiny import make_tiny_model

IDS_BT = torch.arange(8, 40)[None]


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=IDS_BT).logits
    return found


def jolt_adapter(model: Any) -> None:
    """An adapter starts as zero; this one says something."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("arch", ["llama", "phi3", "qwen2"])
def test_a_saved_student_is_plain_and_answers_the_same(
    tmp_path: Path, arch: str, method: str
) -> None:
    source = make_tiny_model(tmp_path / "source", arch=arch)
    model, tokenizer = load_student(student(source, method=method, lora_rank=4), seed=1)
    jolt_adapter(model)
    before = logits(model)
    save_student(model, tokenizer, tmp_path / "student")
    assert not list((tmp_path / "student").glob("adapter*"))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    assert type(again).__name__.lower().startswith(arch)
    torch.testing.assert_close(logits(again), before, rtol=1e-4, atol=1e-5)
    if method == "lora":
        untouched = logits(AutoModelForCausalLM.from_pretrained(source))
        assert (before - untouched).abs().max() > 1e-3


def test_a_merge_into_bfloat16_weights_stays_near(tmp_path: Path, tiny: Path) -> None:
    config = student(tiny, method="lora", dtype="bfloat16")
    model, tokenizer = load_student(config, seed=1)
    jolt_adapter(model)
    before = logits(model).float()
    save_student(model, tokenizer, tmp_path / "student")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    assert again.dtype == torch.bfloat16
    torch.testing.assert_close(logits(again).float(), before, rtol=0.05, atol=0.05)


def test_template_and_generation_config_come_along(tmp_path: Path, tiny: Path) -> None:
    model, tokenizer = load_student(student(tiny), seed=1)
    save_student(model, tokenizer, tmp_path / "student")
    again = AutoTokenizer.from_pretrained(tmp_path / "student")
    chat = [{"role": "user", "content": "hello"}]
    assert encode_prompt(again, chat) == encode_prompt(tokenizer, chat)
    generation = GenerationConfig.from_pretrained(tmp_path / "student")
    generation.validate(strict=True)
    assert generation.eos_token_id == [tokenizer.eos_token_id]
    assert generation.pad_token_id == tokenizer.pad_token_id
    assert not generation.do_sample


def test_a_stop_token_of_another_vocabulary_is_dropped(tmp_path: Path, tiny: Path) -> None:
    model, tokenizer = load_student(student(tiny), seed=1)
    an_ordinary_word = tokenizer.convert_tokens_to_ids("a")
    system = tokenizer.convert_tokens_to_ids("<|system|>")
    model.generation_config.eos_token_id = [an_ordinary_word, system, 10**6]
    save_student(model, tokenizer, tmp_path / "student")
    generation = GenerationConfig.from_pretrained(tmp_path / "student")
    assert generation.eos_token_id == sorted([tokenizer.eos_token_id, system])


def test_a_config_without_weights_starts_from_the_seed(tmp_path: Path, tiny: Path) -> None:
    shutil.copytree(tiny, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    models = [load_student(student(tmp_path / "bare"), seed=seed)[0] for seed in (1, 1, 2)]
    first, same, other = map(logits, models)
    assert torch.equal(first, same) and not torch.equal(first, other)


def test_weights_that_are_not_finite_are_not_published(tmp_path: Path, tiny: Path) -> None:
    model, tokenizer = load_student(student(tiny), seed=1)
    with torch.no_grad():
        model.model.norm.weight[0] = float("inf")
    with pytest.raises(TrainingError, match=r"not finite, the first is model\.norm\.weight"):
        save_student(model, tokenizer, tmp_path / "student")
    assert not (tmp_path / "student").exists()


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
