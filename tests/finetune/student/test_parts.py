"""Parts of a model that do not learn, by name."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from mwalimu.config.student import PARTS
from mwalimu.errors import StudentError
from mwalimu.finetune.student import load_student
from mwalimu.finetune.student.parts import parameters_of, says_of_tied
from tests.finetune.student.models import FAMILIES, make_family, student


def frozen_in(model: Any) -> set[str]:
    return {name for name, p in model.named_parameters() if not p.requires_grad}


def loaded(folder: Path, *parts: str) -> Any:
    model, _ = load_student(student(folder, method="full", freeze=parts), seed=0)
    return model


WORDS = {
    "embeddings": ("embed_tokens",),
    "head": ("lm_head",),
    "norms": ("norm",),
    "attention": ("self_attn",),
    "mlp": ("mlp",),
    "layers.1-2": ("layers.1.", "layers.2."),
    "layers.3": ("layers.3.",),
}


@pytest.mark.parametrize("family", ["phi3", "gemma3_text, untied"])
def test_a_part_is_what_its_name_says(tmp_path: Path, family: str) -> None:
    folder = make_family(tmp_path, family)
    names = {name for name, _ in loaded(folder).named_parameters()}
    for part, words in WORDS.items():
        expected = {name for name in names if any(word in name for word in words)}
        assert expected and frozen_in(loaded(folder, part)) == expected, part


def test_parts_add_up(tmp_path: Path) -> None:
    folder = make_family(tmp_path, "llama")
    both = frozen_in(loaded(folder, "embeddings")) | frozen_in(loaded(folder, "layers.0-1"))
    assert frozen_in(loaded(folder, "embeddings", "layers.0-1")) == both


@pytest.mark.parametrize("part", ["embeddings", "head"])
def test_tied_embeddings_are_one_part_and_that_is_said(tmp_path: Path, part: str) -> None:
    model = loaded(make_family(tmp_path / "tied", "llama, tied"), part)
    assert frozen_in(model) == {"model.embed_tokens.weight"}
    assert "one matrix" in says_of_tied(model, [part])
    assert says_of_tied(model, ["embeddings", "head"]) == ""
    assert says_of_tied(model, ["norms"]) == ""
    apart = loaded(make_family(tmp_path / "apart", "llama"), part)
    assert says_of_tied(apart, [part]) == ""


@pytest.mark.parametrize("part", ["layers.4", "layers.2-9"])
def test_a_layer_that_is_not_there_is_refused_with_those_that_are(
    tmp_path: Path, part: str
) -> None:
    with pytest.raises(StudentError, match=f"no {part}; its layers are layers.0-3"):
        loaded(make_family(tmp_path, "llama"), part)


def test_something_has_to_learn(tmp_path: Path) -> None:
    everything = ["embeddings", "head", "norms", "layers.0-3"]
    with pytest.raises(StudentError, match="nothing learns"):
        loaded(make_family(tmp_path, "qwen2"), *everything)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_every_part(tmp_path: Path, family: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(make_family(tmp_path, family))
    for part in PARTS:
        assert parameters_of(model, part)
