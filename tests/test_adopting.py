"""Finished stages that one run folder takes over from another."""

import os
from pathlib import Path

import pytest

from mwalimu.pipeline.adopting import adopt
from mwalimu.run import Run


def donor(root: Path, *, stage: str = "generate", wanted: str = "w") -> Run:
    run = Run(root)
    path = root / stage / "deep" / "train.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("rows\n")
    run.finish(stage, wanted, [path], {"rows": 1})
    return Run(root)


def test_files_are_shared_and_listed(tmp_path: Path) -> None:
    run, there = Run(tmp_path / "mine"), donor(tmp_path / "theirs")
    assert adopt(run, "generate", "w", [there])
    assert run.is_done("generate", "w")
    state = Run(tmp_path / "mine").stage("generate")
    assert state is not None and state.summary == {"rows": 1}
    path = "generate/deep/train.jsonl"
    assert run.path(path).samefile(there.path(path))
    assert not adopt(run, "generate", "w", [there])  # it is here already


def test_a_disk_that_cannot_link_gets_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    run, there = Run(tmp_path / "mine"), donor(tmp_path / "theirs")
    assert adopt(run, "generate", "w", [there])
    assert not run.path("generate/deep/train.jsonl").samefile(
        there.path("generate/deep/train.jsonl")
    )
    assert run.is_done("generate", "w")


def test_what_is_damaged_or_of_other_settings_is_not_taken(tmp_path: Path) -> None:
    run = Run(tmp_path / "mine")
    other = donor(tmp_path / "other", wanted="else")
    damaged = donor(tmp_path / "damaged")
    damaged.path("generate/deep/train.jsonl").write_text("other rows\n")
    assert not adopt(run, "generate", "w", [other, damaged, Run(tmp_path / "nobody")])
    assert not run.path("generate").exists()
    assert adopt(run, "generate", "w", [other, damaged, donor(tmp_path / "whole")])


def test_a_training_is_taken_over_and_what_it_writes_to_again_is_a_copy(tmp_path: Path) -> None:
    there = Run(tmp_path / "theirs")
    files = [there.path("finetune/student/model.safetensors"), there.path("finetune/metrics.jsonl")]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    there.finish("finetune", "w", files, {})
    mine = Run(tmp_path / "mine")
    assert adopt(mine, "finetune", "w", [Run(tmp_path / "theirs")])
    assert mine.path("finetune/student/model.safetensors").samefile(files[0])
    assert not mine.path("finetune/metrics.jsonl").samefile(files[1])
    assert mine.path("finetune/metrics.jsonl").read_text() == "x"


def test_what_is_measured_is_not_taken_over(tmp_path: Path) -> None:
    there = donor(tmp_path / "theirs", stage="evaluate")
    assert not adopt(Run(tmp_path / "mine"), "evaluate", "w", [there])
