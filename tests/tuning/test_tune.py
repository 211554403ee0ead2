"""The whole of a search over real students, and what is kept of it when it is killed."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mwalimu.config import Config, dump_config, load_config
from mwalimu.errors import ConfigError, MwalimuError, RunError
from mwalimu.pipeline import Pipeline
from mwalimu.quickstart.job import write_job
from mwalimu.run import Run
from mwalimu.shipping.telling import told
from mwalimu.tuning.launching import Event
from mwalimu.tuning.trial import Order, run_trial
from mwalimu.tuning.tune import tune, with_settings
from tests import command
from tests.tuning.jobs import Stop

ROWS = {"train": 32, "validation": 12, "test": 12, "labelled": 4}
SPACE = {
    "finetune.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "finetune.epochs": {"low": 1, "high": 2},
    "finetune.objective": {"divergences": ["forward_kl"], "text": [0.5, 1.0]},
}
SHORT = {"epochs": 1, "save_every": 2, "objective": "auto"}


class Inside:
    """A launch that runs each trial here, before it returns."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.stopped: list[str] = []

    def __call__(self, order: Order, heard: Callable[[Event], None]) -> Any:
        self.orders.append(order)
        try:
            run_trial(order, heard)
        except MwalimuError as error:
            heard({"failed": told(error)})
        heard({"ended": {"code": 0, "said": ""}})
        return Stop(self, order, None)


def written(folder: Path, **tune: Any) -> Path:
    path = write_job(folder, rows=ROWS)
    raw = yaml.safe_load(path.read_text())
    raw["finetune"] |= SHORT
    raw["evaluate"] |= {"max_tokens": 8}
    raw["tune"] = {"space": SPACE, "warm_up": 2, **tune}
    path.write_text(yaml.safe_dump(raw))
    return path


def pipeline_of(path: Path, **settings: Any) -> Pipeline:
    config = with_settings(load_config(path), **settings)
    return Pipeline(config, path.parent / "run", store=path.parent / "answers")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Inside, Any]:
    path = written(tmp_path_factory.mktemp("tuned"))
    launch = Inside()
    return path, launch, tune(pipeline_of(path, budget="4trials"), launch=launch)


def test_the_teacher_is_asked_once_and_trials_share_what_it_said(
    whole: tuple[Path, Inside, Any],
) -> None:
    path, launch, _ = whole
    base = Run(path.parent / "run")
    for order in launch.orders:
        run = Run(Path(order.folder))
        assert set(run.manifest["stages"]) >= {"generate", "curate", "finetune"}
        for name in base.require("generate").files:
            assert os.path.samefile(run.path(name), base.path(name))
    learned = [json.loads((Path(o.folder) / "run.json").read_bytes()) for o in launch.orders]
    signals = [one["stages"].get("signals", {}).get("fingerprint") for one in learned]
    assert signals[0] == base.require("signals").fingerprint


def test_what_is_found_is_told(whole: tuple[Path, Inside, Any]) -> None:
    path, _, found = whole
    assert [trial.number for trial in found.trials] == [0, 1, 2, 3]
    assert found.of(0).changes["finetune.learning_rate"] == 2.5e-3
    values = [trial.values[0] for trial in found.trials if trial.values]
    assert found.of(found.chosen).values[0] == max(values)
    assert found.graded_by.startswith("the teacher's answers") and found.measured_on == 12
    assert found.corrected is not None and found.corrected.mean <= max(values) + 0.05
    test = found.on_test
    assert test.rows == 12 and test.looks == (1 if found.chosen == 0 else 2)
    report = (path.parent / "run" / "tuning" / "report.md").read_text()
    for part in ("Chosen: trial", "selection", "No test row took part", "## Trials"):
        assert part in report
    raw = json.loads((path.parent / "run" / "tuning" / "found.json").read_bytes())
    assert raw["chosen"] == found.chosen


def test_the_recipe_is_ready_to_run(whole: tuple[Path, Inside, Any]) -> None:
    """It makes the student that was chosen, byte for byte."""
    path, _, found = whole
    tuning = path.parent / "run" / "tuning"
    config = load_config(tuning / "best.yaml")
    assert config.tune.budget is None and not config.tune.space
    chosen = found.of(found.chosen).changes
    assert config.finetune.learning_rate == chosen["finetune.learning_rate"]
    again = Pipeline(config, path.parent / "again", store=path.parent / "answers")
    again.generate()
    again.curate()
    again.signals()
    again.finetune()
    student = "finetune/student/model.safetensors"
    tried = tuning / "trials" / f"{found.chosen:04}"
    assert (path.parent / "again" / student).read_bytes() == (tried / student).read_bytes()


def test_a_search_that_ended_does_nothing_again_and_a_larger_one_goes_on(
    whole: tuple[Path, Inside, Any],
) -> None:
    path, _, found = whole
    launch = Inside()
    again = tune(pipeline_of(path, budget="4trials"), launch=launch)
    assert launch.orders == [] and again.trials == found.trials
    more = tune(pipeline_of(path, budget="5trials"), launch=launch)
    assert len(launch.orders) == 1 and more.trials[:4] == found.trials
    with pytest.raises(RunError, match="of another job, space or seed"):
        tune(pipeline_of(path, budget="5trials", seed=3), launch=launch)


def test_an_upside_down_budget_and_missing_rows_are_told_before_anything(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(ConfigError, match="a search has no end by itself"):
        tune(pipeline_of(path))
    with pytest.raises(ConfigError, match="nothing here has a price"):
        tune(pipeline_of(path, budget="2usd"))
    with pytest.raises(ConfigError, match="not known without the price of a machine"):
        tune(pipeline_of(path, budget="1trial", objectives=["quality", "cost"]))
    with pytest.raises(ConfigError, match="parallel: Input should be greater"):
        pipeline_of(path, parallel=0)
    raw = yaml.safe_load(path.read_text())
    del raw["data"]["validation"]
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match=r"data\.validation: is not set"):
        tune(pipeline_of(path, budget="1trial"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_killed_it_resumes_with_no_trial_lost(tmp_path: Path) -> None:
    """kill -9 of the search while its second trial is under way, which goes on as it was."""
    written(tmp_path)
    arguments = ("tune", "distill.yaml", "--run", "run", "--budget", "2trials")
    tuning = tmp_path / "run" / "tuning"
    life = command.start(*arguments, cwd=tmp_path)
    while not (tuning / "trials" / "0001" / "log.txt").exists():
        assert life.lasts(0.05)
    first = (tuning / "trials" / "0000" / "run.json").read_bytes()
    life.kill()
    assert life.finished().returncode == -signal.SIGKILL
    drawn = parameters(tuning / "journal.jsonl")
    done = command.start(*arguments, cwd=tmp_path).finished()
    assert done.returncode == 0, done.stderr
    assert "recipe: run/tuning/best.yaml" in done.stdout
    assert (tuning / "trials" / "0000" / "run.json").read_bytes() == first
    assert parameters(tuning / "journal.jsonl") == drawn and len(drawn) == 2
    found = json.loads((tuning / "found.json").read_bytes())
    assert [trial["number"] for trial in found["trials"]] == [0, 1]
    assert all(trial["state"] in ("complete", "pruned") for trial in found["trials"])


def parameters(journal: Path) -> list[Any]:
    """Of the trials that were begun."""
    lines = map(json.loads, journal.read_bytes().splitlines())
    return [line["system_attrs"]["fixed_params"] for line in lines if line.get("system_attrs")]


def test_a_config_goes_to_a_trial_and_back_unchanged(tmp_path: Path) -> None:
    config = load_config(written(tmp_path))
    sent = json.loads(json.dumps(config.model_dump(mode="json", exclude_unset=True)))
    assert dump_config(Config.model_validate(sent)) == dump_config(config)
