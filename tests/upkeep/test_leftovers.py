from pathlib import Path

import pytest

from mwalimu.errors import RunError
from mwalimu.files import exclusive
from mwalimu.upkeep.leftovers import collect_garbage, leftovers, repair
from tests.upkeep.made import publish, run_folder


def test_unfinished_writes_go_and_nothing_else(tmp_path: Path) -> None:
    run_folder(tmp_path)
    torn = tmp_path / "finetune" / "checkpoints" / ".step-4.tmp"
    torn.mkdir(parents=True)
    (torn / ".weights.tmp").write_bytes(b"half")
    file = tmp_path / "generate" / ".ledger.json.tmp"
    file.write_bytes(b"{")
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert sorted(repair(tmp_path)) == sorted([torn, file])
    left = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert before - left == {torn / ".weights.tmp", file}


def test_an_old_folder_without_its_successor_is_what_will_be_gone_on_with(tmp_path: Path) -> None:
    alone, replaced = (tmp_path / "checkpoints" / f".step-{n}.old" for n in (2, 4))
    for folder in (alone, replaced, tmp_path / "checkpoints" / "step-4"):
        folder.mkdir(parents=True)
    assert leftovers(tmp_path) == [replaced]


def test_checkpoints_go_once_the_student_is_published(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    checkpoint = tmp_path / "finetune" / "checkpoints" / "step-2" / "state.json"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"12345")
    assert collect_garbage(tmp_path, arms=False, dry=False) == ([], 0)
    publish(run, "finetune", "student/model.safetensors")
    found = ([tmp_path / "finetune" / "checkpoints"], 5)
    assert collect_garbage(tmp_path, arms=False, dry=True) == found
    assert checkpoint.exists()
    assert collect_garbage(tmp_path, arms=False, dry=False) == found
    assert not checkpoint.exists()


def test_the_baselines_go_only_when_asked_for(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    publish(run, "evaluate", "scores.json")
    arm = tmp_path / "evaluate" / "arms" / "student-before"
    arm.mkdir(parents=True)
    assert collect_garbage(tmp_path, arms=False, dry=False)[0] == []
    assert collect_garbage(tmp_path, arms=True, dry=False)[0] == [arm.parent]
    assert run.stage("evaluate")


def test_a_run_in_work_is_left_alone(tmp_path: Path) -> None:
    run_folder(tmp_path)
    with exclusive(tmp_path, "run folder"), pytest.raises(RunError, match="another mwalimu"):
        repair(tmp_path)


def test_a_link_goes_and_not_what_it_points_to(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_bytes(b"x")
    run_folder(tmp_path / "run")
    (tmp_path / "run" / ".student.tmp").symlink_to(kept)
    repair(tmp_path / "run")
    assert (kept / "file").exists() and not (tmp_path / "run" / ".student.tmp").is_symlink()


def test_a_folder_that_is_no_run_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        repair(tmp_path / "typo")
    with pytest.raises(RunError, match="no run folder"):
        collect_garbage(tmp_path / "typo", arms=False, dry=False)
    assert not (tmp_path / "typo").exists()
