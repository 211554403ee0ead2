"""The n-th call of a command fails: one line, its exit code, and the same command goes on.

What had been published stays whole, and it ends with the bytes of one that nothing disturbed. Each
stage is tried from where the one before left its run folder, so that a try costs that stage alone.
The short form is stage 1; MWALIMU_LONG=1 goes through all, and every write of a full disk.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mwalimu.files import sha256_file
from mwalimu.quickstart.job import write_job
from mwalimu.upkeep.checking import check_run
from tests import command
from tests.figures import record

LONG = bool(os.environ.get("MWALIMU_LONG"))
TRIES = 6 if LONG else 2
ROWS = {"train": 8, "validation": 4, "test": 4, "labelled": 4}
SETS = (
    "data.labelled=null",  # its training would be stage 2 once more
    "finetune.epochs=1",
    "finetune.save_every=1",
    "finetune.objective=auto",
    "evaluate.max_tokens=4",
    "export.targets=[{to: safetensors, precision: fp32}]",
)


class Stage(NamedTuple):
    """`command` runs it; `same` lists what it publishes that is the same bytes each time."""

    command: str
    same: tuple[str, ...]


STAGES = (
    Stage(
        "generate", ("generate/train.jsonl", "generate/validation.jsonl", "generate/rejects.jsonl")
    ),
    Stage("curate", ("curate/train.jsonl", "curate/validation.jsonl", "curate/funnel.json")),
    Stage("signals capture", ("signals/topk/train/shard-00000.safetensors",)),
    Stage("finetune", ("finetune/student/model.safetensors", "finetune/student/tokenizer.json")),
    Stage(
        "evaluate",
        ("evaluate/predictions/student-distilled.jsonl", "evaluate/predictions/teacher.jsonl"),
    ),
    Stage("run", ("export/safetensors-fp32/model.safetensors",)),  # what is left: export, report
)


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


def run(stage: Stage, folder: Path, **fault: Any) -> tuple[int, str]:
    sets = [word for one in SETS for word in ("--set", one)]
    asked = (*stage.command.split(), "distill.yaml", "--run", "run", *sets)
    env = {"MWALIMU_TESTS_FAULT": json.dumps(fault)} if fault else {}
    done = command.mwalimu(*asked, cwd=folder, **env)
    return done.returncode, done.stderr


class Undisturbed:
    """A run that nothing disturbs, as it stood before each stage and after it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: dict[tuple[Stage, str], int] = {}
        write_job(root / "before-generate", rows=ROWS)

    def before(self, stage: Stage) -> Path:
        at = STAGES.index(stage)
        return self.root / "before-generate" if at == 0 else self.after(STAGES[at - 1])

    def after(self, stage: Stage) -> Path:
        folder = self.root / stage.command
        if not folder.exists():
            shutil.copytree(self.before(stage), folder)
            code, said = run(stage, folder)
            assert code == 0, said
        return folder

    def count(self, stage: Stage, call: str) -> int:
        """How many calls of that name the stage makes."""
        if (stage, call) not in self.calls:
            folder = self.root / "counted"
            shutil.copytree(self.before(stage), folder)
            code, said = run(stage, folder, names=[call])
            assert code == 0, said
            self.calls[stage, call] = int((folder / "calls").read_text())
            shutil.rmtree(folder)
        return self.calls[stage, call]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES if LONG else STAGES[:1], ids=lambda stage: stage.command)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.call}-{kind.error}")
def test_the_same_command_goes_on_whatever_call_failed(
    kind: Kind, stage: Stage, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    calls = undisturbed.count(stage, kind.call)
    if not calls:
        pytest.skip(f"{stage.command} makes no call of {kind.call}")
    tries = calls if LONG and kind.every else TRIES
    tried = survived = 0
    for at in sorted({1 + (2 * n + 1) * calls // (2 * tries) for n in range(tries)}):
        at = min(at, calls)
        folder = tmp_path / str(at)
        shutil.copytree(undisturbed.before(stage), folder)
        failed = getattr(errno, kind.error)
        code, said = run(
            stage, folder, names=[kind.call], at=at, number=failed, lasting=kind.lasting
        )
        if code == 0 and not kind.lasting:  # there is another way than that call
            survived += 1
        else:
            check_line(kind, code, said, at)
        if (folder / "run" / "run.json").exists():
            damaged = [one for one in check_run(folder / "run") if one.what != "leftovers"]
            assert not any(one.fix for one in damaged), at
        code, said = run(stage, folder)
        assert code == 0, (at, said[-600:])
        for name in stage.same:
            whole = undisturbed.after(stage) / "run" / name
            assert sha256_file(folder / "run" / name) == sha256_file(whole), (at, name)
        shutil.rmtree(folder)
        tried += 1
    note = f"of {calls} calls" + (f"; {survived} done without it" if survived else "")
    record("R5", f"{stage.command}, {kind.error} at a {kind.call}", tried=tried, note=note)


def check_line(kind: Kind, code: int, said: str, at: int) -> None:
    last = said.strip().splitlines()[-1]
    assert code == kind.code, (at, said[-600:])
    assert last.startswith("error: ") and kind.says in last and "Traceback" not in said
