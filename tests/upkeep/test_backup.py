import errno
import os
import shutil
import threading
from pathlib import Path

import pytest

from mwalimu.errors import DiskFull, RunError
from mwalimu.files import exclusive
from mwalimu.run import Run
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.store import AnswerStore, Stored, read_answers
from mwalimu.upkeep import backup
from mwalimu.upkeep.backup import back_up
from mwalimu.upkeep.checking import check_run
from tests.upkeep.made import publish, run_folder, store


def test_a_copy_is_a_run_and_a_store_of_its_own(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    answers = store(tmp_path / "answers", 4, run.id)
    size = back_up(run.root, tmp_path / "answers", tmp_path / "copy")
    assert size == sum(p.stat().st_size for p in (tmp_path / "copy").rglob("*") if p.is_file())
    assert not any(line.fix for line in check_run(tmp_path / "copy" / "run"))
    assert Run(tmp_path / "copy" / "run").manifest == run.manifest
    with AnswerStore(tmp_path / "copy" / "answers", run.id) as copied:
        assert [copied.get(one.key) for one in answers] == [one.raw for one in answers]
        assert copied.spend().answers == 4


def test_it_is_taken_while_both_are_written(tmp_path: Path) -> None:
    """A stage is published over and over, and answers come, while ten copies are made."""
    run, begun, stop = run_folder(tmp_path / "run"), threading.Event(), threading.Event()

    def write() -> None:
        with exclusive(run.root, "run folder"), AnswerStore(tmp_path / "answers", run.id) as opened:
            begun.set()  # a copy that is first has the folder to itself
            number = 0
            while not stop.is_set():
                publish(run, "curate", "train.jsonl", text=b"%d\n" % number)
                opened.put([Stored(f"{number:064x}", Cost(), b"answer %d" % number)])
                number += 1
                stop.wait(0.02)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(60)
        for number in range(10):
            back_up(run.root, tmp_path / "answers", tmp_path / f"copy{number}")
    finally:
        stop.set()
        writer.join()
    for number in range(10):
        copy = tmp_path / f"copy{number}"
        assert not any(line.fix for line in check_run(copy / "run"))
        if (copy / "answers").exists():
            found = list(read_answers(copy / "answers"))
            assert [one.raw for one in found] == [b"answer %d" % n for n in range(len(found))]


def test_a_training_under_way_comes_with_its_checkpoints(tmp_path: Path) -> None:
    run_folder(tmp_path / "run")
    folder = tmp_path / "run" / "finetune"
    for step in (2, 4):
        (folder / "checkpoints" / f"step-{step}").mkdir(parents=True)
        (folder / "checkpoints" / f"step-{step}" / "state.json").write_bytes(b"{}")
    (folder / "metrics.jsonl").write_bytes(b'{"step": 4, "loss": 1.0}\n')
    back_up(tmp_path / "run", None, tmp_path / "copy")
    copied = sorted(p.name for p in (tmp_path / "copy/run/finetune/checkpoints").iterdir())
    assert copied == ["step-2", "step-4"]
    assert (tmp_path / "copy/run/finetune/metrics.jsonl").exists()


def test_a_checkpoint_that_goes_meanwhile_is_left_out_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folder(tmp_path / "run")
    going = tmp_path / "run" / "finetune" / "checkpoints" / "step-2"
    going.mkdir(parents=True)
    for name in ("a", "b"):
        (going / name).write_bytes(b"x")
    copyfile = shutil.copy2

    def removed(source: str, target: str) -> object:
        found = copyfile(source, target)
        shutil.rmtree(going, ignore_errors=True)
        return found

    copytree = shutil.copytree
    monkeypatch.setattr(
        backup.shutil, "copytree", lambda a, b: copytree(a, b, copy_function=removed)
    )
    back_up(tmp_path / "run", None, tmp_path / "copy")
    assert list((tmp_path / "copy" / "run").rglob("step-*")) == []


def test_a_damaged_run_is_not_copied(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    run.path("curate", "train.jsonl").write_bytes(b"changed")
    with pytest.raises(RunError, match="runs verify"):
        back_up(run.root, None, tmp_path / "copy")
    assert os.listdir(tmp_path) == ["run"]


def test_a_full_disk_leaves_nothing_of_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_folder(tmp_path / "run")

    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(backup, "fsync_tree", full)
    with pytest.raises(DiskFull):
        back_up(run.root, None, tmp_path / "copy")
    assert os.listdir(tmp_path) == ["run"]


def test_no_folder_is_written_over(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    (tmp_path / "copy").mkdir()
    with pytest.raises(RunError, match="exists"):
        back_up(run.root, None, tmp_path / "copy")


def test_what_is_no_run_is_not_copied(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        back_up(tmp_path / "typo", None, tmp_path / "copy")
    assert os.listdir(tmp_path) == []
