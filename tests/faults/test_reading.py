"""A disk that cannot be read any more: one line that names what tells what is whole; and that says
which."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from mwalimu.errors import MachineError
from mwalimu.quickstart.job import write_job
from mwalimu.run import Run
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.index import FILE
from mwalimu.synthesis.store import AnswerStore, Stored
from mwalimu.upkeep.checking import check_answers, check_run
from tests import command
from tests.faults.calls import Calls
from tests.figures import record

ANSWERS = [Stored(f"{n:064x}", Cost(1, 2, 3), b"answer %d" % n) for n in range(400)]
PAGE = 4096


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with AnswerStore(tmp_path / "answers") as store:
        store.put(ANSWERS)
    return tmp_path / "answers"


def test_an_answer_that_cannot_be_read_is_told(folder: Path) -> None:
    with AnswerStore(folder) as store:
        take_out = Calls(["read"], at=1).install()
        try:
            with pytest.raises(MachineError, match="mwalimu runs verify"):
                store.get(ANSWERS[0].key)
        finally:
            take_out()
        assert store.get(ANSWERS[0].key) == ANSWERS[0].raw


def test_verify_says_what_cannot_be_read(folder: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    (tmp_path / "run").mkdir()
    run.path("a.jsonl").write_bytes(b"{}\n")
    run.finish("generate", "f", [run.path("a.jsonl")], {})
    assert not any(line.fix for line in check_run(run.root))
    take_out = Calls(["read"], at=2, lasting=True).install()  # the first reads the manifest
    try:
        (stage,) = check_run(run.root)
        (answers,) = check_answers(folder)
    finally:
        take_out()
    assert stage.said == "a.jsonl: the disk cannot be read or written" and stage.fix
    assert answers.said == "the disk cannot be read or written" and answers.fix


@pytest.mark.slow
def test_a_command_that_cannot_read_a_stage_names_verify(tmp_path: Path) -> None:
    write_job(tmp_path, rows={"train": 4, "validation": 4, "test": 4, "labelled": 4})
    asked = ("generate", "distill.yaml", "--run", "run")
    assert command.mwalimu(*asked, cwd=tmp_path).returncode == 0
    fault = {"names": ["read"], "number": errno.EIO, "at": 1, "under": str(tmp_path / "run")}
    done = command.mwalimu(*asked, cwd=tmp_path, MWALIMU_TESTS_FAULT=json.dumps(fault))
    assert done.returncode == 13
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: run/") and "mwalimu runs verify" in last
    assert command.mwalimu(*asked, cwd=tmp_path).returncode == 0


def test_whatever_page_of_the_index_is_spoilt_no_answer_is_lost(folder: Path) -> None:
    """The index is a copy: it is made again from the segment."""
    sound = (folder / FILE).read_bytes()
    pages = len(sound) // PAGE
    for page in range(pages):
        spoilt = bytearray(sound)
        spoilt[page * PAGE : (page + 1) * PAGE] = b"\xa5" * PAGE
        (folder / FILE).write_bytes(spoilt)
        with AnswerStore(folder) as store:
            assert all(store.get(one.key) == one.raw for one in ANSWERS)
            assert store.spend().answers == len(ANSWERS)
    assert pages > 5
    record("R5", "a page of the index spoilt", tried=pages)
