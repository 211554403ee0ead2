"""Students by name: an alias becomes a hub id, everything else stays what it was."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mwalimu.cli import app
from mwalimu.config import build_config, dump_config
from mwalimu.errors import ConfigError
from mwalimu.registry import find_student, resolve_student, search_students
from mwalimu.registry.catalogue import catalogue, loose

SEED = {
    "phi-4-mini": "microsoft/Phi-4-mini-instruct",
    "microsoft/Phi-4-mini": "microsoft/Phi-4-mini-instruct",
    "Microsoft/phi-4-mini-instruct": "microsoft/Phi-4-mini-instruct",
    "llama-3.1-8b": "meta-llama/Llama-3.1-8B-Instruct",
    "Meta Llama 3.1 8B Instruct": "meta-llama/Llama-3.1-8B-Instruct",
    "phi-3-mini-4k": "microsoft/Phi-3-mini-4k-instruct",
    "phi-3-mini-128k": "microsoft/Phi-3-mini-128k-instruct",
    "Phi-3.5-mini": "microsoft/Phi-3.5-mini-instruct",
    "qwen2.5 0.5b": "Qwen/Qwen2.5-0.5B-Instruct",
    "gemma-2-2b": "google/gemma-2-2b-it",
}
MINE = """
students:
  mine:
    family: Own
    licence: mit
    context: 4096
    weights: lab/Mine-1B
    shape: {model_type: llama, vocab_size: 100, hidden_size: 8, intermediate_size: 16,
      num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 4,
      tie_word_embeddings: true}
"""


@pytest.fixture(autouse=True)
def nobody_s_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)


def user_file(text: str) -> Path:
    path = Path(".mwalimu") / "models.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def config_for(model: str, base: Path) -> Any:
    raw = {
        "task": "qa",
        "data": {"train": "prompts.jsonl"},
        "teacher": {"model": "fake"},
        "student": {"model": model},
    }
    return build_config(raw, base=base)


def models(*arguments: str, columns: int = 80) -> str:
    result = CliRunner().invoke(
        app, ["models", "--students", *arguments], env={"COLUMNS": str(columns)}
    )
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(("name", "weights"), SEED.items())
def test_an_alias_is_resolved(name: str, weights: str) -> None:
    assert resolve_student(name) == weights


@pytest.mark.parametrize(
    "name",
    ["Qwen/Qwen2.5-0.5B", "some/model", "./student", "/no/such/folder", "gpt2", "student"],
)
def test_other_names_stay(name: str) -> None:
    assert resolve_student(name) == name


def test_every_name_means_one_student() -> None:
    owners: dict[str, str] = {}
    for student in catalogue().students.values():
        assert resolve_student(student.weights) == student.weights
        for name in student.names():
            assert find_student(name) is student
            assert owners.setdefault(loose(name), student.name) == student.name, name


def test_the_shipped_students_are_complete() -> None:
    for student in catalogue().students.values():
        assert student.context >= 4096 and student.weights.count("/") == 1
        assert student.licence.url.startswith("https://") and student.licence.derivatives


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("phi-4-mni", "did you mean phi-4-mini or"),
        ("phi-3-mini", "phi-3-mini-4k"),
        ("llama-8b", "did you mean llama-3.1-8b or"),
    ],
)
def test_a_misspelt_name_is_told_the_nearest(name: str, nearest: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config_for(name, tmp_path)
    assert caught.value.where == "student.model" and nearest in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_config_keeps_the_hub_id_and_a_folder_wins(tmp_path: Path) -> None:
    assert "Phi-4-mini-instruct" in dump_config(config_for("phi-4-mini", tmp_path))
    again = config_for(config_for("phi-4-mini", tmp_path).student.model, tmp_path)
    assert again.student.model == "microsoft/Phi-4-mini-instruct"
    (tmp_path / "phi-4-mini").mkdir()
    assert config_for("phi-4-mini", tmp_path).student.model == str(tmp_path / "phi-4-mini")


def test_user_files_add_and_replace() -> None:
    user_file(MINE)
    assert resolve_student("Mine") == "lab/Mine-1B"
    assert resolve_student("phi-4-mini") == SEED["phi-4-mini"]
    user_file(MINE.replace("  mine:", "  phi-4-mini:"))
    assert resolve_student("phi-4-mini") == "lab/Mine-1B"
    user_file(MINE.replace("context: 4096", "context: 4096\n    aliases: [our small one]"))
    assert resolve_student("Our-small-one") == "lab/Mine-1B"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MINE.replace("licence: mit", "licence: gpl"), "students.mine.licence: 'gpl'"),
        (MINE.replace("weights: lab/Mine-1B", "routes: []"), "students.mine.weights: "),
        (MINE.replace("head_dim: 4", "head_dim: much"), "students.mine.shape.head_dim: "),
        (MINE.replace("head_dim: 4", "heads: 4"), "students.mine.shape.heads: "),
    ],
)
def test_a_bad_entry_names_file_and_key(text: str, says: str) -> None:
    path = user_file(text)
    with pytest.raises(ConfigError) as caught:
        resolve_student("phi-4-mini")
    assert str(path.absolute()) in caught.value.where and says in caught.value.what


def test_models_lists_students() -> None:
    everything = models()
    assert all(name in everything for name in catalogue().students)
    assert max(map(len, everything.splitlines())) <= 80
    assert [s.name for s in search_students(["gemma", "2b"])] == ["gemma-2-2b"]
    details = models("phi-4-mini")
    assert "microsoft/Phi-4-mini-instruct" in details and "3,836,021,760 parameters" in details
    assert "200,064" in details and "131,072 tokens" in details and "full: 57.2 GiB" in details
    listed = {student["name"]: student for student in json.loads(models("phi", "--json"))}
    assert listed["phi-4-mini"]["bytes"]["full"] == 16 * 3_836_021_760
    assert listed["phi-3.5-mini"]["parameters"] == 3_821_079_552


def test_models_without_a_student_that_fits_is_a_config_error() -> None:
    result = CliRunner().invoke(app, ["models", "--students", "no such student"])
    assert isinstance(result.exception, ConfigError)
