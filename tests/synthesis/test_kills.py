"""kill -9 at any moment: no answer lost, none twice, the same bytes, and no more repeats than open.

The oracle is the server's own ledger, and a run that nobody disturbed. MWALIMU_LONG=1 kills 1,000
times instead of 60, and at every call instead of every third.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from mwalimu.run import Run
from mwalimu.synthesis.store import AnswerStore
from tests.figures import record
from tests.synthesis.lives import Lives
from tests.synthesis.teacher_server import TeacherServer, answer_to

ROWS, CONCURRENCY = 500, 16
KILLS = 1_000 if os.environ.get("MWALIMU_LONG") else 60
STRIDE = 1 if os.environ.get("MWALIMU_LONG") else 3  # of the calls at which a life dies
OUTPUTS = ("train.jsonl", "rejects.jsonl")


@pytest.fixture(scope="module")
def lives() -> Iterator[Lives]:
    server = Lives("tests.synthesis.fork_server")
    yield server
    server.close()


def digest(folder: Path) -> list[str]:
    files = [folder / "run" / "generate" / name for name in OUTPUTS]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def open_requests(folder: Path) -> int:
    """By the journal that the killed life left behind."""
    with AnswerStore(folder / "answers", Run(folder / "run").id) as store:
        return store.spend().open_requests


def check_rows(folder: Path, rows: int) -> None:
    lines = (folder / "run/generate/train.jsonl").read_bytes().splitlines()
    found = [orjson.loads(line) for line in lines]
    assert [row["id"] for row in found] == [f"r{i}" for i in range(rows)]
    for row in found:
        asked, answered = (message["content"] for message in row["messages"])
        assert answered == answer_to(asked)


def test_random_kills_lose_nothing_and_repeat_only_what_was_in_flight(
    lives: Lives, tmp_path: Path
) -> None:
    chooser = random.Random(20)
    kills = jobs = repeats = 0
    with TeacherServer(latency_s=0.02) as server:
        options = {"url": server.url, "rows": ROWS, "concurrency": CONCURRENCY}
        lives.start(folder=tmp_path / "whole", **options)
        assert lives.wait() == 0
        check_rows(tmp_path / "whole", ROWS)
        wanted = digest(tmp_path / "whole")
        while kills < KILLS:
            folder = tmp_path / f"job{jobs}"
            server.asked = Counter()
            kills += one_job(lives, chooser, folder, options, server, KILLS - kills)
            assert digest(folder) == wanted
            jobs += 1
            repeats += server.asked.total() - ROWS
    note = f"{jobs} jobs of {ROWS} prompts; {repeats / kills:.2f} requests repeated a kill"
    record("R1", "random kills", tried=kills, seed=20, note=note)


def one_job(
    lives: Lives,
    chooser: random.Random,
    folder: Path,
    options: dict[str, Any],
    server: TeacherServer,
    at_most: int,
) -> int:
    """Kills and starts again until the job is done; returns the number of kills."""
    kills = opened = 0
    while True:
        pid = lives.start(folder=folder, **options)
        if kills < at_most:
            time.sleep(chooser.uniform(0.0, chooser.choice((0.05, 0.1, 0.5))))
            with suppress(ProcessLookupError):  # it was quicker
                os.kill(pid, signal.SIGKILL)
        if lives.wait() == 0:
            break
        kills += 1
        now_open = open_requests(folder)
        # What earlier lives left open stays open in the journal; each kill adds its own.
        assert now_open - opened <= CONCURRENCY
        opened = max(opened, now_open)
    asked = server.asked
    assert len(asked) == ROWS
    assert asked.total() - ROWS <= opened <= CONCURRENCY * max(kills, 1)
    return kills


def test_a_kill_after_every_single_write_fsync_and_rename(lives: Lives, tmp_path: Path) -> None:
    rows = 50
    with TeacherServer() as server:
        options = {"url": server.url, "rows": rows, "concurrency": 8}
        lives.start(folder=tmp_path / "whole", die_at=0, **options)
        assert lives.wait() == 0
        wanted = digest(tmp_path / "whole")
        calls = int((tmp_path / "whole" / "calls").read_text())
        assert calls > 2 * rows
        died = 0
        for call in range(1, calls + 1, STRIDE):
            folder = tmp_path / str(call)
            server.asked = Counter()
            lives.start(folder=folder, die_at=call, **options)
            died += lives.wait() == -signal.SIGKILL
            opened = open_requests(folder)
            lives.start(folder=folder, **options)
            assert lives.wait() == 0
            assert digest(folder) == wanted
            assert server.asked.total() - rows <= opened <= 8
    # How many answers share an fsync varies, so the last few calls of a life may not come.
    assert died >= 0.9 * calls / STRIDE
    record("R2", "a kill at every call", tried=died, note=f"of {calls} calls of {rows} prompts")
