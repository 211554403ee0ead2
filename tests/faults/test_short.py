"""Calls that move but a part of what they are asked to, as the system may: nothing shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mwalimu.files import sha256_file
from mwalimu.quickstart.job import write_job
from mwalimu.upkeep.checking import check_run
from tests import command
from tests.faults.test_sockets import ROWS, generate, hashes, write
from tests.figures import record
from tests.synthesis.teacher_server import TeacherServer

TINY = {"train": 8, "validation": 4, "test": 4, "labelled": 4}
SETS = ("finetune.epochs=1", "evaluate.labelled_epochs=1", "evaluate.max_tokens=4")
STUDENT = "run/finetune/student/model.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "part"), [(["recv", "send"], 1), (["write", "read"], 7)], ids=["sockets", "files"]
)
def test_answers_are_the_same_whatever_a_call_moves(
    names: list[str], part: int, tmp_path: Path
) -> None:
    with TeacherServer() as server:
        whole, short = write(tmp_path / "whole", server.url), write(tmp_path / "short", server.url)
        assert generate(whole, names=names)[0] == 0
        code, said = generate(short, names=names, part=part)
        assert code == 0, said
        assert server.asked.total() == 2 * ROWS
        assert generate(short)[0] == 0 and server.asked.total() == 2 * ROWS, "all was kept"
    calls = [int((folder / "calls").read_text()) for folder in (whole, short)]
    assert calls[1] > 5 * calls[0], "the calls were not short"
    assert hashes(short) == hashes(whole)
    what = f"{names[0]} and {names[1]} that move {part} bytes at most"
    record("R6", what, tried=1, note=f"{calls[1]:,} calls")


@pytest.mark.slow
def test_a_whole_run_is_the_same_however_little_a_write_takes(tmp_path: Path) -> None:
    sets = [word for one in SETS for word in ("--set", one)]
    for name, part in (("whole", 0), ("short", 1000)):
        folder = tmp_path / name
        folder.mkdir()
        write_job(folder, rows=TINY)
        fault = f'{{"names": ["write", "read"], "part": {part}}}'
        asked = ("run", "distill.yaml", "--run", "run", *sets)
        done = command.mwalimu(*asked, cwd=folder, MWALIMU_TESTS_FAULT=fault)
        assert done.returncode == 0, done.stderr
    short = tmp_path / "short"
    assert sha256_file(short / STUDENT) == sha256_file(tmp_path / "whole" / STUDENT)
    assert not [line for line in check_run(short / "run") if line.fix]
