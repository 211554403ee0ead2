"""A trial in a process of its own: what it finds, tells and raises comes back."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mwalimu.errors import StudentError
from mwalimu.shipping import launch
from mwalimu.shipping.launch import in_subprocess
from mwalimu.shipping.telling import told
from mwalimu.shipping.trial import Job, read_found
from tests.tiny import make_tiny_model


def job(folder: Path, root: Path) -> Job:
    prompts = [[1, 9, 30], [1, 9, 30, 41, 7], [2] * 600]
    return Job(
        folder=str(folder),
        file_mib=0.5,
        parameters=None,
        prompts=prompts,
        ends=[2],
        max_tokens=3,
        slots=1,
        threads=1,
        parity=prompts[:2],
        logits=str(root / "logits.safetensors"),
        wanted="w",
        out=str(root / "trial"),
    )


def test_answers_memory_and_parity_come_back(tmp_path: Path) -> None:
    one = job(make_tiny_model(tmp_path / "student", spread=0.3), tmp_path)
    done: list[int] = []
    found = in_subprocess(one, done.append)
    assert done == [3] and found.answered == 2  # the third leaves no room for an answer
    assert found == read_found(tmp_path / "trial", "w")
    assert read_found(tmp_path / "trial", "another") is None
    assert found.parity and found.parity.max_error == 0 and found.parity.positions == 8
    if sys.platform == "linux":
        peak = found.performance.peak_memory_mib
        assert found.loaded_mib and peak and peak >= found.loaded_mib > 20


def stand_in(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_what_it_raises_is_raised_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = told(StudentError("cannot be loaded", where="x", fix="mend it"))
    script = f"echo '{json.dumps(error)}' > {tmp_path}/trial/error.json; exit 5"
    monkeypatch.setattr(launch.sys, "executable", stand_in(tmp_path / "python", script))
    with pytest.raises(StudentError, match="x: cannot be loaded; mend it"):
        in_subprocess(job(tmp_path, tmp_path), lambda done: None)


def test_a_runtime_that_dies_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "echo 'terminate called' >&2; kill -SEGV $$"
    monkeypatch.setattr(launch.sys, "executable", stand_in(tmp_path / "python", script))
    with pytest.raises(StudentError, match=r"was ended by signal 11 \(terminate called\)"):
        in_subprocess(job(tmp_path, tmp_path), lambda done: None)


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Whose end closes the pipe, even where nobody could say goodbye."""
    program = "import time; from mwalimu.shipping import trial as t; t._end_with_the_parent()"
    program += "; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    assert process.stdin
    process.stdin.close()
    assert process.wait(30) == 1
