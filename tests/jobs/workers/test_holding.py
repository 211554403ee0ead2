"""The lock that tells whose it is, between real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mwalimu.errors import RunError
from mwalimu.jobs.workers import holding as module
from mwalimu.jobs.workers.holding import held, holder
from tests.jobs.waiting import wait_for

HOLD = """
import sys, time
from pathlib import Path
from mwalimu.jobs.workers.holding import held
with held(Path(sys.argv[1]), patience_s=float(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


def another(path: Path, patience_s: float = 0.0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(patience_s)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_it_is_told_who_holds_it_for_as_long_as_that_lives(tmp_path: Path) -> None:
    path = tmp_path / "worker"
    assert holder(path) is None
    with another(path) as first:
        assert wait_for(lambda: holder(path)) == first.pid
        with pytest.raises(RunError, match="another worker has not let go of it"):
            held(path, patience_s=0.1).__enter__()
        first.kill()
    assert holder(path) is None
    assert path.read_text() == str(first.pid)  # which is nobody's, and says nothing
    with held(path, patience_s=0):
        assert holder(path) == os.getpid()


def test_of_many_that_wait_one_has_it_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "worker"
    others = [another(path, 30) for _ in range(6)]
    seen = []
    for _ in others:
        first = wait_for(lambda: holder(path) not in (None, *seen) and holder(path), 30)
        seen.append(first)
        (process,) = [one for one in others if one.pid == first]
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.kill()
        process.wait()
    assert sorted(seen) == sorted(one.pid for one in others)
    for process in others:
        with process:
            pass
    assert [one.name for one in tmp_path.iterdir()] == ["worker"]


def test_who_comes_too_late_sees_that_another_took_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the opening of a dead worker's file and its locking another is faster."""
    path = tmp_path / "worker"
    path.write_text("1")
    real = module._locked
    others: list[subprocess.Popen[str]] = []

    def slow(descriptor: int) -> bool:
        monkeypatch.setattr(module, "_locked", real)
        others.append(another(path))
        assert others[0].stdout is not None
        assert others[0].stdout.readline() == "held\n"
        return real(descriptor)

    monkeypatch.setattr(module, "_locked", slow)
    with pytest.raises(RunError):
        held(path, patience_s=0).__enter__()
    with others[0] as first:
        assert holder(path) == first.pid
        first.kill()
