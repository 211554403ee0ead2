"""Every recipe that is no pair of real models: its rows, its config, and a run of two steps."""

import json
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from recipes.make_data import RECIPES
from recipes.small_pair import main as small_pair

from mwalimu import api
from mwalimu.config import load_config
from mwalimu.pipeline import Pipeline
from mwalimu.registry import find_student
from mwalimu.teachers.fake import FakeTeacher
from tests.recipes.folders import FOLDERS, WORLDS, copied, data_files, gold_script, shrunk
from tests.tiny import make_tiny_model

# Points by which another machine may differ; what few rows teach depends on little things.
TOLERATED, OF_FEW_LABELS = 6.0, 15.0


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_there_is_one_for_every_use_and_every_task() -> None:
    assert {"content-moderation", "financial-risk", "legal-clauses"} <= set(WORLDS)
    assert {"medical-triage", "translation"} <= set(WORLDS)
    tasks = {load_config(RECIPES / name / "distill.yaml").task for name in FOLDERS}
    assert tasks >= {"nli", "conversation", "qa", "math", "summarization", "translation"}


@pytest.mark.parametrize("name", FOLDERS)
def test_its_rows_are_valid_and_it_is_listed(name: str, tmp_path: Path) -> None:
    job = copied(name, tmp_path)
    config = load_config(job / "distill.yaml")
    for split, path in data_files(job).items():
        found = api.validate_data(path, task=config.task)
        assert found.rows >= 2 and not found.problems, split
        tasks = set(api.inspect_data(path, task=config.task).tasks)
        assert tasks == ({config.task} if config.evaluate.tasks_file is None else {"risk_note"})
    top = name.partition("/")[0]
    listed = (RECIPES / "README.md").read_text(encoding="utf-8")
    own = (RECIPES / top / "README.md").read_text(encoding="utf-8")
    assert f"| `{top}` |" in listed
    assert f"recipes/{top}" in own and "mwalimu run distill.yaml" in own


@pytest.mark.parametrize("name", FOLDERS)
def test_it_runs_whole_in_two_steps(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = copied(name, tmp_path)
    shrunk(job)
    fake = partial(FakeTeacher, gold_script(job))
    monkeypatch.setattr("mwalimu.teachers.fake.FakeTeacher", fake)
    asked = load_config(job / "distill.yaml")
    assert find_student(asked.student.model) is not None
    config = load_config(
        job / "distill.yaml",
        [
            f"teacher={{model: fake, temperature: {asked.teacher.temperature}}}",
            "budget={}",
            f"student.model={make_tiny_model(tmp_path / 'student')}",
            "student.max_length=512",
            "finetune.batch_size=100",
            "finetune.accumulation=1",
            "finetune.epochs=2",
            "generate.json_schema=null",
            "evaluate.arms=[teacher, distilled]",
            "evaluate.max_tokens=8",
            "evaluate.likelihood=false",
        ],
    )
    pipeline = Pipeline(config, tmp_path / "run", store=tmp_path / "answers")
    scores = api.execute(pipeline)[1]
    ledger = json.loads((tmp_path / "run" / "generate" / "ledger.json").read_text())
    assert ledger["inputs"] == ledger["outcomes"]["ok"] >= 4
    lines = (tmp_path / "run" / "finetune" / "metrics.jsonl").read_text().splitlines()
    losses = [line["loss"] for line in map(json.loads, lines) if "loss" in line]
    assert len(losses) == 2 and losses[1] < losses[0]
    # The fake teacher knows the gold answers of the test rows, and the graders find them right.
    arms = {one["name"]: one["accuracy"]["mean"] for one in scores["arms"]}
    assert arms["teacher"] == 1
    assert scores["verdict"] is None or not scores["verdict"]["passed"]
    assert (tmp_path / "run" / "report.md").is_file()


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("MWALIMU_LONG"), reason="the long form: minutes a recipe")
@pytest.mark.parametrize("name", WORLDS)
def test_the_small_pair_does_as_its_readme_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["small_pair", name, "--out", str(tmp_path)])
    assert small_pair() == 0
    scores = json.loads((tmp_path / "run" / "evaluate" / "scores.json").read_text())
    found = {one["name"]: 100 * one["accuracy"]["mean"] for one in scores["arms"]}
    expected = said(name)
    assert expected.keys() == found.keys()
    for arm, points in expected.items():
        tolerated = OF_FEW_LABELS if arm == "student-labels" else TOLERATED
        assert abs(found[arm] - points) <= tolerated, (arm, found[arm], points)
    assert found["student-labels"] + TOLERATED < found["student-distilled"]


def said(name: str) -> dict[str, float]:
    """Arm -> its expected accuracy in percent, in the table of the recipe's README."""
    text = (RECIPES / name / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| ([\d.]+) \[", text, re.MULTILINE)
    return {arm: float(points) for arm, points in rows}


@pytest.mark.parametrize("name", WORLDS)
def test_a_readme_says_what_to_expect(name: str) -> None:
    expected = said(name)
    assert set(expected) == {"teacher", "student-before", "student-labels", "student-distilled"}
    assert expected["student-labels"] + TOLERATED < expected["student-distilled"]
