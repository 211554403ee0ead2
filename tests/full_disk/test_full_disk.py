"""The disk is full at the n-th write of a whole run: one line, and the same command goes on.

What had been published stays whole, and the run ends with the bytes of one that nothing disturbed.
MWALIMU_LONG=1 tries every write instead of a few.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mwalimu.quickstart.job import write_job
from mwalimu.run import Run, sha256_file
from mwalimu.upkeep.checking import check_run
from tests import command
from tests.figures import record

ROWS = {"train": 8, "validation": 4, "test": 4, "labelled": 4}
SETS = (
    "finetune.epochs=1",
    "finetune.save_every=1",
    "finetune.objective=auto",
    "evaluate.labelled_epochs=1",
    "evaluate.max_tokens=4",
)
TRIES = 2
SAME = ("generate/train.jsonl", "curate/train.jsonl", "finetune/student/model.safetensors")


def run(folder: Path, full_at: int | None = None) -> tuple[int, str]:
    sets = [word for one in SETS for word in ("--set", one)]
    asked = ("run", "distill.yaml", "--run", "run", *sets)
    env = {} if full_at is None else {"MWALIMU_TESTS_FULL_AT": str(full_at)}
    done = command.mwalimu(*asked, cwd=folder, **env)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A run that nothing disturbed, and the number of its writes."""
    folder = tmp_path_factory.mktemp("whole")
    write_job(folder, rows=ROWS)
    code, said = run(folder, full_at=0)
    assert code == 0, said
    return folder, int((folder / "writes").read_text())


@pytest.mark.slow
def test_the_same_command_goes_on_wherever_the_disk_was_full(
    whole: tuple[Path, int], tmp_path: Path
) -> None:
    reference, writes = whole
    step = 1 if os.environ.get("MWALIMU_LONG") else writes // TRIES
    tried = 0
    for at in range(1, writes + 1, step):
        folder = tmp_path / str(at)
        folder.mkdir()
        write_job(folder, rows=ROWS)
        code, said = run(folder, full_at=at)
        last = said.strip().splitlines()[-1]
        assert code == 7, (at, said[-600:])
        assert last.startswith("error: ") and "no space left" in last and "Traceback" not in said
        if (folder / "run" / "run.json").exists():
            damaged = [one for one in check_run(folder / "run") if one.what != "leftovers"]
            assert not any(one.fix for one in damaged), at
        code, said = run(folder)
        assert code == 0, (at, said[-600:])
        assert Run(folder / "run").stage("report")
        for name in SAME:
            same = sha256_file(folder / "run" / name) == sha256_file(reference / "run" / name)
            assert same, (at, name)
        tried += 1
    record("R5", "a run, full at a write", tried=tried, note=f"of {writes} writes")
