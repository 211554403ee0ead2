"""Students are published as plain folders or as adapters, whole, finite and saying the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from mwalimu.data.loading import CannotLoad, load_causal_lm, quiet_peft
from mwalimu.data.tokenize import encode_prompt
from mwalimu.errors import StudentError, TrainingError
from mwalimu.evaluation.generate import load_answerer
from mwalimu.evaluation.performance import parameter_count, size_on_disk
from mwalimu.finetune.student import load_student, parity, publishing, save_student
from tests.finetune.student.models import four_bits, jolt, logits, make_family, student
from tests.tiny import make_tiny_model

ROWS = [list(range(8, 60)), list(range(20, 90))]
BITS = [16, 8, pytest.param(4, marks=four_bits)]


@pytest.mark.parametrize("method", ["full", "lora", "dora"])
@pytest.mark.parametrize("arch", ["llama", "phi3", "qwen2"])
def test_a_saved_student_is_plain_and_answers_the_same(
    tmp_path: Path, arch: str, method: str
) -> None:
    source = make_tiny_model(tmp_path / "source", arch=arch)
    config = student(source, method=method, lora_rank=4)
    model, tokenizer = load_student(config, seed=1)
    jolt(model)
    before = logits(model)
    facts = save_student(model, tokenizer, tmp_path / "student", config, ROWS)
    assert not list((tmp_path / "student").glob("adapter*"))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    assert type(again).__name__.lower().startswith(arch)
    torch.testing.assert_close(logits(again), before, rtol=1e-4, atol=1e-5)
    if method == "full":
        assert facts == {}
        return
    assert 0 < facts["merge_error"] < facts["merge_tolerance"] < 1e-4
    untouched = logits(AutoModelForCausalLM.from_pretrained(source))
    assert (before - untouched).abs().max() > 1e-3


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("family", ["llama, tied", "gemma2"])
def test_a_quantised_base_is_published_in_plain_numbers(
    tmp_path: Path, family: str, bits: int
) -> None:
    config = student(make_family(tmp_path / "source", family), base_bits=bits)
    model, tokenizer = load_student(config, seed=1)
    jolt(model)
    before = logits(model)
    save_student(model, tokenizer, tmp_path / "student", config, ROWS)
    assert "quantization_config" not in json.loads((tmp_path / "student/config.json").read_text())
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    torch.testing.assert_close(logits(again), before, rtol=1e-4, atol=1e-4)


def test_half_precision_says_what_its_rounding_costs(tmp_path: Path, tiny: Path) -> None:
    config = student(tiny, dtype="bfloat16")
    model, tokenizer = load_student(config, seed=1)
    jolt(model)
    facts = save_student(model, tokenizer, tmp_path / "student", config, ROWS)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    assert again.dtype == torch.bfloat16
    assert 1e-4 < facts["merge_error"] < facts["merge_tolerance"] < 0.1


def spoilt(model: Any) -> Any:
    """A merge that forgets the adapter."""
    return model.unload()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_merge_that_goes_wrong_is_refused(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    config = student(tiny, dtype=dtype)
    model, tokenizer = load_student(config, seed=1)
    jolt(model)
    monkeypatch.setattr(publishing, "merged", spoilt)
    with pytest.raises(TrainingError, match="of their size away from those that were trained"):
        save_student(model, tokenizer, tmp_path / "student", config, ROWS)
    assert not (tmp_path / "student").exists()


def test_the_tolerance_is_that_of_rounding(tiny: Path) -> None:
    model, _ = load_student(student(tiny, method="full"), seed=1)
    check = parity.Parity(model, ROWS, autocast=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.double() * (1 + 2**-24))
    assert check.check(model)["merge_error"] <= check.tolerance < 1e-5
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.mul_(1.01)
    with pytest.raises(TrainingError):
        check.check(model)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("method", ["lora", "dora"])
def test_an_adapter_kept_apart_opens_on_its_base(
    tmp_path: Path, tiny: Path, method: str, bits: int
) -> None:
    config = student(tiny, method=method, base_bits=bits, publish="adapter", unfreeze=["norms"])
    model, tokenizer = load_student(config, seed=1)
    jolt(model)
    with torch.no_grad():
        model.get_base_model().model.norm.weight.mul_(1.5)
    before, folder = logits(model), tmp_path / "student"
    count = parameter_count(model)
    assert save_student(model, tokenizer, folder, config, ROWS) == {}
    assert not list(folder.glob("model*"))
    answerer = load_answerer(folder, max_tokens=4, trust_remote_code=False)
    assert torch.equal(logits(answerer.model), before)
    assert parameter_count(answerer.model) == count
    assert answerer.answer([[8, 9, 10]])[0].tokens > 0
    whole = size_on_disk(folder)
    assert whole is not None and whole > (size_on_disk(tiny) or 0)
    if bits == 16:  # as any user of peft would
        plain = AutoModelForCausalLM.from_pretrained(tiny)
        with quiet_peft():
            assert torch.equal(logits(PeftModel.from_pretrained(plain, folder)), before)


def test_an_adapters_folder_names_its_base_and_has_the_template(tmp_path: Path, tiny: Path) -> None:
    config = student(tiny, publish="adapter")
    model, tokenizer = load_student(config, seed=1)
    save_student(model, tokenizer, tmp_path / "student", config)
    base = json.loads((tmp_path / "student" / "base.json").read_text())
    assert base == {"model": str(tiny), "revision": None, "bits": 16, "dtype": "float32"}
    settings = json.loads((tmp_path / "student" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(tiny)
    again = AutoTokenizer.from_pretrained(tmp_path / "student")
    assert again.chat_template == tokenizer.chat_template
    generation = GenerationConfig.from_pretrained(tmp_path / "student")
    assert generation.eos_token_id == [tokenizer.eos_token_id]


def torn(folder: Path) -> None:
    (folder / "base.json").write_text("{")


def nameless(folder: Path) -> None:
    (folder / "base.json").write_text("{}")


def gone(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def elsewhere(folder: Path) -> None:
    base = json.loads((folder / "base.json").read_text())
    (folder / "base.json").write_text(json.dumps(base | {"model": "/no/such/folder"}))


@pytest.mark.parametrize("damage", [torn, nameless, gone, elsewhere])
def test_a_broken_adapter_is_one_line(
    tmp_path: Path, tiny: Path, damage: Callable[[Path], None]
) -> None:
    config = student(tiny, publish="adapter")
    model, tokenizer = load_student(config, seed=1)
    save_student(model, tokenizer, tmp_path / "student", config)
    damage(tmp_path / "student")
    with pytest.raises(CannotLoad) as caught:
        load_causal_lm(str(tmp_path / "student"))
    assert "\n" not in str(caught.value)
    with pytest.raises(StudentError):
        load_answerer(tmp_path / "student", max_tokens=4, trust_remote_code=False)


def test_an_adapter_is_the_same_bytes_every_time(tmp_path: Path, tiny: Path) -> None:
    config = student(tiny, publish="adapter")
    for name in ("one", "two"):
        model, tokenizer = load_student(config, seed=1)
        save_student(model, tokenizer, tmp_path / name, config)
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert "README.md" not in files and "adapter_model.safetensors" in files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    targets = json.loads((tmp_path / "one" / "adapter_config.json").read_text())["target_modules"]
    assert targets == sorted(targets)


def test_template_and_generation_config_come_along(tmp_path: Path, tiny: Path) -> None:
    config = student(tiny, method="full")
    model, tokenizer = load_student(config, seed=1)
    save_student(model, tokenizer, tmp_path / "student", config)
    again = AutoTokenizer.from_pretrained(tmp_path / "student")
    chat = [{"role": "user", "content": "hello"}]
    assert encode_prompt(again, chat) == encode_prompt(tokenizer, chat)
    generation = GenerationConfig.from_pretrained(tmp_path / "student")
    generation.validate(strict=True)
    assert generation.eos_token_id == [tokenizer.eos_token_id]
    assert generation.pad_token_id == tokenizer.pad_token_id
    assert not generation.do_sample


def test_a_stop_token_of_another_vocabulary_is_dropped(tmp_path: Path, tiny: Path) -> None:
    config = student(tiny, method="full")
    model, tokenizer = load_student(config, seed=1)
    an_ordinary_word = tokenizer.convert_tokens_to_ids("a")
    system = tokenizer.convert_tokens_to_ids("<|system|>")
    model.generation_config.eos_token_id = [an_ordinary_word, system, 10**6]
    save_student(model, tokenizer, tmp_path / "student", config)
    generation = GenerationConfig.from_pretrained(tmp_path / "student")
    assert generation.eos_token_id == sorted([tokenizer.eos_token_id, system])


@pytest.mark.parametrize(
    ("method", "publish"),
    [("full", "merged"), ("lora", "merged"), ("dora", "merged"), ("lora", "adapter")],
)
def test_weights_that_are_not_finite_are_not_published(
    tmp_path: Path, tiny: Path, method: str, publish: str
) -> None:
    config = student(tiny, method=method, publish=publish)
    model, tokenizer = load_student(config, seed=1)
    trained = [p for p in model.parameters() if p.requires_grad]
    with torch.no_grad():
        trained[-1].view(-1)[0] = float("nan")
    with pytest.raises(TrainingError, match="not finite, the first is"):
        save_student(model, tokenizer, tmp_path / "student", config, ROWS)
    assert not (tmp_path / "student").exists()
