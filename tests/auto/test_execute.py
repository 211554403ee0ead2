"""The whole job: it buys, searches, chooses, and goes on after any kill."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from mwalimu.auto.execute import execute, in_rounds
from mwalimu.config import ActiveConfig, Config, build_config
from mwalimu.errors import ConfigError
from mwalimu.files import sha256_file
from mwalimu.pipeline import Pipeline
from mwalimu.quickstart.job import write_job
from mwalimu.run import Run
from mwalimu.tuning.conclusion import NothingMeasured
from tests import command
from tests.buying.test_rounds import raw_job as rounds_job
from tests.synthesis.teacher_server import TeacherServer
from tests.tiny import make_tiny_model
from tests.tuning.test_tune import Inside

SEARCH = "tuning/found.json"
FOLDER = Path(__file__).parent


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("student") / "model", spread=0.2)


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


def raw_job(folder: Path, student: Path, url: str) -> dict[str, Any]:
    """A served teacher, two students of other sizes, and a search that takes seconds."""
    raw = rounds_job(folder, student, url, active={"rounds": 2})
    smaller = make_tiny_model(folder / "smaller", hidden=16, layers=1, spread=0.2)
    question = {"role": "user", "content": "of the test"}
    row = {"id": "t", "messages": [question, {"role": "assistant", "content": "echo"}]}
    (folder / "test.jsonl").write_text(json.dumps(row) + "\n")
    raw["data"]["test"] = "test.jsonl"
    raw["prepare"] = {"overlap": "off"}
    raw["evaluate"] |= {"arms": ["distilled"]}
    raw["tune"] = {"space": {"finetune.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}}}
    raw["tune"] |= {"students": [str(smaller)], "warm_up": 2}
    return raw


def test_it_buys_searches_and_runs_what_it_chose(tmp_path: Path, student: Path) -> None:
    with TeacherServer() as server:
        raw = raw_job(tmp_path, student, server.url) | {"budget": {"requests": 60}}
        config = build_config(raw | {"auto": {"budget": "1h,3trials"}}, base=tmp_path)
        said: list[str] = []

        def progress(stage: str, _done: int, _total: int, note: str) -> None:
            said.extend([note] if stage == "auto" else [])

        start = Pipeline(config, tmp_path / "run", store=tmp_path / "store", progress=progress)
        pipeline, _ = execute(start, auto=True, launch=Inside())
        asked = dict(server.asked)
        again, _ = execute(
            Pipeline(config, tmp_path / "run", store=tmp_path / "store"), auto=True, launch=Inside()
        )
        assert dict(server.asked) == asked, "nothing is asked again"
    assert max(asked.values()) == 1
    assert [line.split(" ")[0] for line in said] == ["20", "the", "of"]
    found = json.loads((tmp_path / "run" / SEARCH).read_bytes())
    assert found["on_test"] is None and len(found["trials"]) == 3 and found["choose"] == "smallest"
    chosen = found["trials"][found["chosen"]]
    assert pipeline.asked.student.model == chosen["changes"]["student.model"] == chosen["student"]
    run = Run(tmp_path / "run")
    steps = [one["step"] for one in run.manifest["auto"]["decisions"]]
    assert steps == ["bought", "shared out", "chosen"]
    trial = tmp_path / "run/tuning/trials" / f"{found['chosen']:04}"
    student_file = "finetune/student/model.safetensors"
    assert run.path(student_file).samefile(trial / student_file), "it is not trained twice"
    assert run.stage("evaluate") is not None and again.asked == pipeline.asked
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "What was decided, and why" in report and said[-1][:40] in report


def test_where_nothing_ends_a_search_the_recipe_is_the_written_one(
    tmp_path: Path, student: Path
) -> None:
    with TeacherServer() as server:
        raw = raw_job(tmp_path, student, server.url) | {"budget": {"requests": 60}}
        config = build_config(raw, base=tmp_path)
        start = Pipeline(config, tmp_path / "run", store=tmp_path / "store")
        pipeline, _ = execute(start, auto=True, launch=Inside())
    decisions = Run(tmp_path / "run").manifest["auto"]["decisions"]
    assert decisions[1]["said"].startswith("no search: no budget was named for it")
    assert pipeline.asked.student.model == str(student) and not (tmp_path / "run/tuning").exists()


def test_when_no_trial_ends_in_time_the_recipe_is_the_written_one(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_args: object, **how: object) -> None:
        assert how["launch"] is None, "the section scale says where trials run"
        raise NothingMeasured("no trial ended within the budget", where="x")

    monkeypatch.setattr("mwalimu.auto.execute.tune", nothing)
    with TeacherServer() as server:
        raw = raw_job(tmp_path, student, server.url) | {"budget": {"requests": 60}}
        config = build_config(raw | {"auto": {"budget": "1h"}}, base=tmp_path)
        start = Pipeline(config, tmp_path / "run", store=tmp_path / "store")
        pipeline, _ = execute(start, auto=True)
    decisions = Run(tmp_path / "run").manifest["auto"]["decisions"]
    assert decisions[-1]["said"] == "the recipe as it is written: no trial ended within the budget"
    assert pipeline.asked.student.model == str(student)


@pytest.mark.slow
def test_killed_anywhere_it_ends_as_one_that_was_not(tmp_path: Path, student: Path) -> None:
    """kill -9 at random moments: the same decisions, the same student."""
    lives = 24 if os.environ.get("MWALIMU_LONG") == "1" else 1
    with TeacherServer() as server:
        results, dice, kills = [], random.Random(7), 0
        for name in ("whole", "killed"):
            folder = tmp_path / name
            folder.mkdir()
            raw = raw_job(folder, student, server.url) | {"budget": {"requests": 400}}
            (folder / "distill.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
            words = ("run", "distill.yaml", "--run", "run", "--auto", "--budget", "2trials")
            life = command.start(*words, cwd=folder)
            while name == "killed" and kills < lives and life.lasts(dice.uniform(4.0, 14.0)):
                life.kill()
                life.finished()
                kills += 1
                life = command.start(*words, cwd=folder)
            done = life.finished()
            assert done.returncode == 0, done.stderr
            run = Run(folder / "run")
            found = json.loads((folder / "run" / SEARCH).read_bytes())
            weights = sha256_file(run.path("finetune/student/model.safetensors"))
            steps = [one["step"] for one in run.manifest["auto"]["decisions"]]
            rates = [trial["changes"]["finetune.learning_rate"] for trial in found["trials"]]
            results.append((weights, steps, found["chosen"], rates))
    assert kills and results[0] == results[1]


def test_a_budget_without_auto_is_told(tmp_path: Path) -> None:
    done = command.mwalimu("run", "distill.yaml", "--budget", "1h", cwd=tmp_path)
    assert done.returncode == 2 and "are of --auto" in done.stderr


def test_without_rounds_it_is_the_pipeline_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline(job(), FOLDER / "none", store=FOLDER / "none")
    monkeypatch.setattr(Pipeline, "execute", lambda self: {"ran": self is pipeline})
    assert execute(pipeline) == (pipeline, {"ran": True})
