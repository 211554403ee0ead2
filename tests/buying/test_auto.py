from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mwalimu.buying.auto import execute, in_rounds
from mwalimu.config import ActiveConfig, Config, build_config
from mwalimu.errors import ConfigError
from mwalimu.pipeline import Pipeline
from mwalimu.quickstart.job import write_job
from mwalimu.run import Run
from tests import command

FOLDER = Path(__file__).parent


def job(**sections: Any) -> Config:
    raw: dict[str, Any] = {
        "task": "qa",
        "data": {"train": "train.jsonl", "validation": "validation.jsonl"},
        "teacher": {"model": "tiny", "base_url": "http://localhost:1/v1"},
        "student": {"model": "some/student"},
        "budget": {"requests": 10},
    }
    return build_config(raw | sections, base=FOLDER)


def test_what_is_left_open_gets_its_defaults_and_what_is_set_stays() -> None:
    assert in_rounds(job()).active == ActiveConfig()
    assert in_rounds(job(active={"first": 7})).active == ActiveConfig(first=7)


def test_a_paid_teacher_needs_a_cap_and_one_here_does_not() -> None:
    with pytest.raises(ConfigError, match="budget: has no cap"):
        in_rounds(job(budget={}))
    assert in_rounds(job(budget={}, teacher={"model": "fake"})).active


def test_validation_rows_are_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"data\.validation: is not set"):
        in_rounds(job(data={"train": "train.jsonl"}))


def test_the_whole_thing_by_one_command(tmp_path: Path) -> None:
    write_job(tmp_path, rows={"train": 80, "validation": 10, "test": 12, "labelled": 10})
    settings = ("finetune.epochs=1", "evaluate.max_tokens=8", "evaluate.labelled_epochs=1")
    sets = [word for one in (*settings, "active.rounds=2") for word in ("--set", one)]
    done = command.mwalimu("run", "distill.yaml", "--run", "run", "--auto", *sets, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "estimate, if all is bought" in done.stderr
    assert "round 0: 8 rows bought" in done.stderr
    decisions = Run(tmp_path / "run").manifest["buying"]["decisions"]
    assert [one["rows"] for one in decisions] == [8, 16]
    assert decisions[-1]["why"] == "the end: 2 rounds were asked for"
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "What was bought, and why no more" in report
    again = command.mwalimu("run", "distill.yaml", "--run", "run", "--auto", *sets, cwd=tmp_path)
    assert again.returncode == 0 and "finetune: 1/1 already done" in again.stderr


def test_without_rounds_it_is_the_pipeline_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline(job(), FOLDER / "none", store=FOLDER / "none")
    monkeypatch.setattr(Pipeline, "execute", lambda self: {"ran": self is pipeline})
    assert execute(pipeline) == (pipeline, {"ran": True})
