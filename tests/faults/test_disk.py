"""The n-th call of a command fails: one line, its exit code, and the same command goes on.

What had been published stays whole, and it ends with the bytes of one that nothing disturbed. The
short form is stage 1 alone; MWALIMU_LONG=1 goes through all stages, and every write of a full disk.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mwalimu.files import sha256_file
from mwalimu.quickstart.job import write_job
from mwalimu.run import Run
from mwalimu.upkeep.checking import check_run
from tests import command
from tests.figures import record

LONG = bool(os.environ.get("MWALIMU_LONG"))
TRIES = 6 if LONG else 2
ROWS = {"train": 8, "validation": 4, "test": 4, "labelled": 4}
COMMAND = "run" if LONG else "generate"
SETS = (
    "finetune.epochs=1",
    "finetune.save_every=1",
    "finetune.objective=auto",
    "evaluate.labelled_epochs=1",
    "evaluate.max_tokens=4",
    "export.targets=[{to: safetensors, precision: fp32}]",
)
SAME = ["generate/train.jsonl", "generate/validation.jsonl", "generate/rejects.jsonl"]
if LONG:
    SAME += ["curate/train.jsonl", "finetune/student/model.safetensors"]
    SAME += ["export/safetensors-fp32/model.safetensors"]


class Kind(NamedTuple):
    """`code` is what the command ends with; `every`: the long form tries all calls, not some."""

    call: str
    error: str
    code: int
    says: str
    every: bool = False
    lasting: bool = False


KINDS = (
    Kind("write", "ENOSPC", 7, "no space left", every=True, lasting=True),
    Kind("write", "EDQUOT", 7, "no space left"),
    Kind("write", "EIO", 13, "cannot be read or written"),
    Kind("fsync", "ENOSPC", 7, "no space left"),
    Kind("fsync", "EIO", 13, "cannot be read or written"),
    Kind("rename", "EIO", 13, "cannot be read or written"),
    Kind("unlink", "EIO", 13, "cannot be read or written"),
    Kind("open", "EMFILE", 13, "too many open files"),
    Kind("open", "EACCES", 13, "no permission"),
    Kind("read", "EIO", 13, "mwalimu runs verify"),
)


def run(folder: Path, **fault: Any) -> tuple[int, str]:
    sets = [word for one in SETS for word in ("--set", one)]
    asked = (COMMAND, "distill.yaml", "--run", "run", *sets)
    env = {"MWALIMU_TESTS_FAULT": json.dumps(fault)} if fault else {}
    done = command.mwalimu(*asked, cwd=folder, **env)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, int]]:
    """A run that nothing disturbed, and how many calls of a name it made."""
    known: dict[str, tuple[Path, int]] = {}

    def counted(call: str) -> tuple[Path, int]:
        if call not in known:
            folder = tmp_path_factory.mktemp("whole")
            write_job(folder, rows=ROWS)
            code, said = run(folder, names=[call])
            assert code == 0, said
            known[call] = folder, int((folder / "calls").read_text())
        return known[call]

    return counted


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.call}-{kind.error}")
def test_the_same_command_goes_on_whatever_call_failed(
    kind: Kind, whole: Callable[[str], tuple[Path, int]], tmp_path: Path
) -> None:
    reference, calls = whole(kind.call)
    tries = calls if LONG and kind.every else TRIES
    tried = survived = 0
    for at in sorted({1 + (2 * n + 1) * calls // (2 * tries) for n in range(tries)}):
        at = min(at, calls)
        folder = tmp_path / str(at)
        folder.mkdir()
        write_job(folder, rows=ROWS)
        failed = getattr(errno, kind.error)
        code, said = run(folder, names=[kind.call], at=at, number=failed, lasting=kind.lasting)
        if code == 0 and not kind.lasting:  # there is another way than that call
            survived += 1
        else:
            check_line(kind, code, said, at)
        if (folder / "run" / "run.json").exists():
            damaged = [one for one in check_run(folder / "run") if one.what != "leftovers"]
            assert not any(one.fix for one in damaged), at
        code, said = run(folder)
        assert code == 0, (at, said[-600:])
        assert Run(folder / "run").stage("report" if LONG else "generate")
        for name in SAME:
            same = sha256_file(folder / "run" / name) == sha256_file(reference / "run" / name)
            assert same, (at, name)
        tried += 1
    note = f"of {calls} calls" + (f"; {survived} done without it" if survived else "")
    record("R5", f"{COMMAND}, {kind.error} at a {kind.call}", tried=tried, note=note)


def check_line(kind: Kind, code: int, said: str, at: int) -> None:
    last = said.strip().splitlines()[-1]
    assert code == kind.code, (at, said[-600:])
    assert last.startswith("error: ") and kind.says in last and "Traceback" not in said
