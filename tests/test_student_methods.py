"""A whole run with a student pruned out of a larger model, under an adapter that is kept apart."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from mwalimu.config import Config, build_config
from mwalimu.data.loading import base_of, load_causal_lm
from mwalimu.errors import StudentError
from mwalimu.pipeline import Pipeline
from tests.finetune.jobs import sums
from tests.finetune.student.models import make_family


def write_rows(path: Path, count: int, seed: int, *, gold: bool) -> str:
    rows = sums(count, seed=seed)
    lines = [r if gold else {**r, "messages": r["messages"][:1]} for r in rows]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path.name


def job(folder: Path, teacher: str = "fake", **student: Any) -> Config:
    large = make_family(folder / "large", "qwen3")
    data = {
        "train": write_rows(folder / "train.jsonl", 12, 1, gold=False),
        "test": write_rows(folder / "test.jsonl", 2, 2, gold=True),
        "labelled": write_rows(folder / "labelled.jsonl", 4, 3, gold=True),
    }
    raw = {
        "task": "generic",
        "data": data,
        "teacher": {"model": teacher},
        "student": {"model": str(large), "max_length": 128} | student,
        "finetune": {"epochs": 1, "learning_rate": 1e-3, "objective": "auto"},
        "evaluate": {"max_tokens": 2, "bootstrap": 100},
    }
    return build_config(raw, base=folder)


def test_every_arm_starts_from_the_same_pruned_student(tmp_path: Path) -> None:
    small = {"layers": 2, "layers_by": "influence", "heads": 3}
    config = job(tmp_path, method="dora", publish="adapter", prune=small)
    run = tmp_path / "run"
    Pipeline(config, run, store=tmp_path / "store").execute()
    pruned = run / "finetune" / "pruned"
    facts = json.loads((pruned / "pruned.json").read_text())
    assert len(facts["layers"]) == 2 and len(facts["influence"]) == 4
    listed = json.loads((run / "run.json").read_text())["stages"]["finetune"]["files"]
    assert "finetune/pruned/model.safetensors" in listed
    arms = run / "evaluate" / "arms"
    for folder in (
        run / "finetune" / "student",
        arms / "student-before",
        arms / "student-labels" / "student",
    ):
        assert base_of(folder)["model"] == str(pruned)
        assert any("lora_magnitude" in n for n in load_file(folder / "adapter_model.safetensors"))
    assert not (arms / "student-labels" / "pruned").exists()
    measured = json.loads((run / "evaluate" / "performance.json").read_text())["arms"]
    assert measured["student-distilled"]["size_mib"] == measured["student-before"]["size_mib"]
    # A run that moved still knows its base.
    moved = run.rename(tmp_path / "moved")
    load_causal_lm(str(moved / "finetune" / "student"))


def test_layers_of_the_objective_are_those_that_stay(tmp_path: Path) -> None:
    config = job(tmp_path, "large", method="full", prune={"layers": 2})
    raw = config.model_dump(mode="json")
    raw["finetune"]["objective"] = [{"kind": "forward_kl"}, {"kind": "hidden"}]
    chosen = Pipeline(build_config(raw, base=tmp_path), tmp_path / "run", store=tmp_path).config
    assert chosen.finetune.objective[1].layers == ((0, 1), (1, 3))


def test_what_cannot_be_is_refused_before_the_teacher_is_asked(tmp_path: Path) -> None:
    config = job(tmp_path, method="full", prune={"layers": 9})
    with pytest.raises(StudentError, match="9 are to stay, and the model has 4"):
        Pipeline(config, tmp_path / "run", store=tmp_path / "store").execute()
    assert not (tmp_path / "run" / "generate").exists()
    assert not (tmp_path / "store").exists()
