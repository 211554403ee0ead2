"""Kill -9 of servers and workers at random moments while jobs run.

Nothing may be lost, worked on twice at once, or stand still for longer than a lease. MWALIMU_LONG=1
is 200 kills during 50 jobs.
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from mwalimu.jobs.records import Spec
from mwalimu.jobs.states import State
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.workers.holding import holder
from mwalimu.jobs.workspace import Workspace
from tests.figures import record
from tests.jobs.labour import LEASE_S, PROGRAM, store_of
from tests.jobs.waiting import wait_for

LONG = bool(os.environ.get("MWALIMU_LONG"))
JOBS, KILLS, STEPS, SLOTS = (50, 200, 25, 3) if LONG else (6, 12, 12, 3)
PAUSE_S = 0.25  # between kills, in the mean
ROUND_S = 4.0  # that a server may take to look at all of its jobs once, on a busy machine


class Server:
    """One that is there again as soon as it was killed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ended: dict[int, float] = {}  # when, by process
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, *PROGRAM, "server", str(self.root), str(SLOTS)])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.ended[self.process.pid] = time.time()
        self.process = self._started()


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    found = Workspace(tmp_path)
    yield found
    for lease in store_of(found).leases():
        kill_worker(found, lease.job)


def kill_worker(workspace: Workspace, job: str) -> bool:
    pid = holder(workspace.worker(job))
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return True


def killed(workspace: Workspace, store: JobStore, server: Server, seed: int) -> Counter[str]:
    """A quarter of the kills are the server's."""
    chance, done = random.Random(seed), Counter[str]()
    while done.total() < KILLS:
        time.sleep(chance.expovariate(1 / PAUSE_S))
        if chance.random() < 0.25:
            server.kill()
            done["server"] += 1
        elif leases := store.leases():
            done["worker"] += kill_worker(workspace, chance.choice(leases).job)
        assert len(store.jobs(state=State.COMPLETED)) < JOBS, f"too short: {done}"
    return done


def test_nothing_is_lost_doubled_or_stuck(workspace: Workspace) -> None:
    store = store_of(workspace)
    spec = Spec("distillation", {"steps": STEPS, "seconds": 0.1})
    names = [store.submit(spec, owner="amina").name for _ in range(JOBS)]
    server = Server(workspace.root)
    try:
        kills = killed(workspace, store, server, seed=1)
        wait_for(lambda: len(store.jobs(state=State.COMPLETED)) == JOBS, JOBS * STEPS)
    finally:
        server.process.terminate()
        assert server.process.wait(20) == 0
    lines = evidence(workspace)
    for name in names:
        assert_done_once(lines[name])
    ups = [(line["time"], server.ended.get(line["pid"], math.inf)) for line in lines["server"]]
    longest = max(stands_still(store, name, lines[name], ups) for name in names)
    assert longest < LEASE_S + ROUND_S
    assert store.leases() == []
    note = f"{dict(kills)}; with a server, none stood still for longer than {longest:.2f} s"
    record("R17", "kills of servers and workers", tried=sum(kills.values()), seed=1, note=note)


def evidence(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    found = defaultdict(list)
    for line in (workspace.root / "evidence.jsonl").read_bytes().splitlines():
        facts = json.loads(line)
        found[facts["job"]].append(facts)
    return found


def assert_done_once(lines: list[dict[str, Any]]) -> None:
    """Each process has its own stretch of the lines, and begins where the last was killed."""
    assert all(line["step"] != "TWICE AT ONCE" for line in lines)
    grouped = [(pid, list(group)) for pid, group in groupby(lines, lambda line: line["pid"])]
    lives = [[line["step"] for line in group] for _, group in grouped]
    pids = [pid for pid, _ in grouped]
    assert len(pids) == len(set(pids)), "two processes took turns"
    reached = 0
    for life in lives:
        steps = [step for step in life if step != "end"]
        assert steps == list(range(steps[0], steps[0] + len(steps))) if steps else True
        assert not steps or steps[0] in (reached, reached + 1), "work was done again, or left out"
        reached = steps[-1] if steps else reached
    assert lives[-1][-1] == "end"
    assert reached == STEPS - 1


def stands_still(
    store: JobStore, name: str, lines: list[dict[str, Any]], ups: list[tuple[float, float]]
) -> float:
    """The longest time in seconds from the last sign of a worker until its job was taken back, in
    which there was a server: `ups` are when there was one."""
    longest, signs = 0.0, [line["time"] for line in lines]
    for event in store.events(job=name, limit=100_000):
        if event.kind == "state" and event.data["state"] == State.NOT_RESPONDING:
            last = max(sign for sign in signs if sign <= event.time)
            served = (min(end, event.time) - max(begin, last) for begin, end in ups)
            longest = max(longest, sum(seconds for seconds in served if seconds > 0))
        signs.append(event.time)
    return longest
