"""Every pair of real models: its own distill.yaml and rows, two steps with a tiny student of the
same class. The other recipes are tested in `test_uses.py`.
"""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from transformers import AutoModelForCausalLM

from mwalimu import api
from mwalimu.config import Config, load_config
from mwalimu.pipeline import Pipeline
from mwalimu.registry import find_student
from mwalimu.teachers.base import Request
from mwalimu.teachers.fake import FakeTeacher
from tests.families.families import make
from tests.recipes.folders import ELSEWHERE, FOLDERS

RECIPES = Path(__file__).parents[2] / "recipes"
# The student of each, and the family that is a tiny one of its class.
STUDENTS = {
    "deepseek-v3-to-phi-4-mini": ("phi-4-mini", "phi-4-mini"),
    "llama-3.1-405b-to-llama-3.1-8b": ("llama-3.1-8b", "llama-3.1"),
    "gpt-4.1-to-phi-3-mini-4k": ("phi-3-mini-4k", "phi-3-mini-4k"),
    "gpt-4.1-to-phi-3.5-mini": ("phi-3.5-mini", "phi-3.5-mini"),
    "gpt-4.1-to-phi-3-mini-128k": ("phi-3-mini-128k", "phi-3.5-mini"),
    "claude-sonnet-4.6-to-phi-4-mini": ("phi-4-mini", "phi-4-mini"),
}
SUMMARIES = orjson.dumps([{"missing_entities": "a", "summary": f"Summary {i}."} for i in range(5)])


def answer(request: Request) -> str:
    """What each of the tasks would accept, by what is asked."""
    asked = "\n".join(message.content for message in request.messages)
    if "JSON list of five" in asked:
        return SUMMARIES.decode()
    if "begins with 'Answer:'" in asked:
        return "Six and seven.\nAnswer: 13"
    return "entailment" if "Hypothesis:" in asked else "Gladly: it is so."


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recipe(name: str, *overrides: str) -> Config:
    return load_config(RECIPES / name / "distill.yaml", overrides)


def needed_gib(config: Config) -> str:
    """Of weights, gradients and optimiser, as its README says them."""
    known = find_student(config.student.model)
    assert known is not None
    adapted = known.shape.adapted_bytes(config.student.bits, config.student.lora_rank)
    return f"{(adapted if config.student.adapts else known.shape.full_bytes) / 2**30:.1f}"


def test_every_folder_is_a_recipe() -> None:
    folders = {path.parent.name for path in RECIPES.glob("*/README.md")}
    others = {name.partition("/")[0] for name in FOLDERS} | ELSEWHERE
    assert folders - others == set(STUDENTS)


@pytest.mark.parametrize("name", STUDENTS)
def test_a_recipe_names_its_student_and_what_that_needs(name: str) -> None:
    config = recipe(name)
    known = find_student(STUDENTS[name][0])
    assert known is not None and config.student.model == known.weights
    own = (RECIPES / name / "README.md").read_text(encoding="utf-8")
    memory = re.search(r"optimiser \| ([\d.]+) GiB", own)
    assert memory is not None and memory[1] == needed_gib(config)
    row = next(
        line
        for line in (RECIPES / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| `{name}`")
    )
    assert row.endswith(f"| {needed_gib(config)} |") and config.student.method in row
    assert f"| {config.task}" in row


@pytest.mark.parametrize("name", STUDENTS)
def test_it_is_estimated_without_a_network(name: str, tmp_path: Path) -> None:
    config = recipe(name)
    found = api.estimate(config, store=tmp_path / "answers")
    assert found.rows["train"] >= 6 and found.terms
    known = find_student(config.student.model)
    assert known is not None and found.training.parameters == known.shape.parameters
    priced = config.teacher.usd_per_million_input is not None
    assert (found.cost.usd is not None) == priced == (config.budget.usd is not None)


@pytest.mark.parametrize("name", STUDENTS)
def test_it_trains_two_steps(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mwalimu.teachers.fake.FakeTeacher", partial(FakeTeacher, answer))
    student = make(tmp_path / "student", STUDENTS[name][1], max_position_embeddings=4096)
    asked = recipe(name)
    method = "lora" if asked.student.method == "qlora" else asked.student.method
    config = recipe(
        name,
        f"teacher={{model: fake, temperature: {asked.teacher.temperature}}}",
        f"student.model={student}",
        f"student.method={method}",
        "student.max_length=4096",
        "finetune.batch_size=100",
        "finetune.epochs=2",
    )
    pipeline = Pipeline(config, tmp_path / "run", store=tmp_path / "answers")
    ledger = pipeline.generate()
    assert ledger["inputs"] == ledger["outcomes"]["ok"] >= 7
    pipeline.curate()
    summary = pipeline.finetune()
    assert summary["steps"] == 2 and summary["truncated_rows"] == 0
    lines = (tmp_path / "run" / "finetune" / "metrics.jsonl").read_text().splitlines()
    first, second = (line["loss"] for line in map(json.loads, lines) if "loss" in line)
    assert second < first
    before, after = (
        AutoModelForCausalLM.from_pretrained(folder)
        for folder in (student, tmp_path / "run" / "finetune" / "student")
    )
    assert type(after) is type(before) and after.num_parameters() == before.num_parameters()
