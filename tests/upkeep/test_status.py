import json
from pathlib import Path

import pytest

from mwalimu.errors import RunError
from mwalimu.files import exclusive
from mwalimu.run import Run
from mwalimu.upkeep.status import status
from tests.upkeep.made import CONFIG, publish, run_folder, store


def told(root: Path, answers: Path) -> dict[str, str]:
    head, *lines = status(root, answers)
    return {"": head} | dict(line.strip().split(maxsplit=1) for line in lines)


def test_stages_are_done_in_work_or_waiting(tmp_path: Path) -> None:
    run_folder(tmp_path / "run")
    stopped = told(tmp_path / "run", tmp_path / "answers")
    assert "run the same command again" in stopped[""]
    assert stopped["generate"].split() == ["done", "rows", "3"]
    assert stopped["finetune"] == "waiting" and stopped["evaluate"] == "waiting"
    with exclusive(tmp_path / "run", "run folder"):
        assert "works in it now" in told(tmp_path / "run", tmp_path / "answers")[""]
        assert told(tmp_path / "run", tmp_path / "answers")["finetune"] == "in work"


def test_a_training_tells_its_newest_step_and_validation(tmp_path: Path) -> None:
    run_folder(tmp_path / "run")
    lines = [
        {"step": 1, "epoch": 0.5, "loss": 3.0},
        {"step": 2, "epoch": 1.0, "loss": 2.0},
        {"step": 2, "validation_loss": 2.5},
        {"step": 3, "epoch": 1.5, "loss": 1.25},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4, "ep'
    (tmp_path / "run" / "finetune").mkdir()
    (tmp_path / "run" / "finetune" / "metrics.jsonl").write_text(text)
    said = told(tmp_path / "run", tmp_path / "answers")["finetune"]
    assert said.endswith("step 3, epoch 1.50 of 3, loss 1.25, validation 2.5")


def test_stage_one_tells_what_was_bought(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.describe(config=CONFIG)
    store(tmp_path / "answers", 5, run.id)
    said = told(tmp_path / "run", tmp_path / "answers")["generate"]
    assert said.endswith("5 answers bought, 60 tokens, $0.01")  # 5 x 3 thousandths


def test_a_finished_run_is_called_so(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    for stage in ("finetune", "evaluate", "report"):
        publish(run, stage, "out.json")
    assert told(tmp_path / "run", tmp_path / "answers")[""].endswith("finished")


def test_a_folder_without_a_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        list(status(tmp_path, tmp_path))
