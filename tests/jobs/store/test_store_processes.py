"""Several processes on one file, and kill -9 among them. MWALIMU_LONG=1: 200 kills."""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress
from itertools import pairwise
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from mwalimu.errors import RunError
from mwalimu.jobs.records import Spec
from mwalimu.jobs.states import State
from mwalimu.jobs.store.job_store import JobStore
from tests.command import processes
from tests.figures import record
from tests.jobs import hammer
from tests.jobs.queue_model import LEGAL

KILLS = 200 if os.environ.get("MWALIMU_LONG") else 10
JOBS = 50
SLOTS = [f"cpu:{number}" for number in range(3)]
PATIENCE_S = 60.0
STOPPED = {State.PAUSED, State.CANCELED, State.FAILED}


def started(folder: Path, slot: str) -> ForkServerProcess:
    process = processes().Process(target=hammer.work, args=(folder, slot))
    process.start()
    return process


def killed(store: JobStore, worker: ForkServerProcess, slot: str) -> bool:
    """Whether it had a job."""
    worker.kill()
    worker.join()
    return any(store.take_back_of(lease) for lease in store.leases() if lease.slot == slot)


def asked_something(store: JobStore, draw: random.Random) -> None:
    """What people do meanwhile; much of it is refused, as it comes too late."""
    name = f"j{draw.randrange(JOBS)}"
    with suppress(RunError):
        draw.choice([store.cancel, store.pause, store.resume, store.resume])(name)


def test_nothing_is_lost_or_held_twice_when_workers_are_killed(tmp_path: Path) -> None:
    store, draw = hammer.opened(tmp_path), random.Random(9)
    for number in range(JOBS):
        store.submit(Spec("distillation", {}), owner=f"o{number % 3}", name=f"j{number}")
    workers = {slot: started(tmp_path, slot) for slot in SLOTS}
    taken_back = 0
    for _ in range(KILLS):
        slot = draw.choice(SLOTS)
        _until_it_works(store, slot)
        time.sleep(draw.uniform(0, 0.05))
        asked_something(store, draw)
        taken_back += killed(store, workers[slot], slot)
        workers[slot] = started(tmp_path, slot)
    _wait_for_the_end(store)
    for slot, worker in workers.items():
        killed(store, worker, slot)

    assert taken_back, "no worker was killed while it had a job"
    assert not (tmp_path / "held-twice").exists()
    jobs = store.jobs(limit=2 * JOBS)
    assert {job.name for job in jobs} == {f"j{number}" for number in range(JOBS)}
    assert {job.state for job in jobs} == {State.COMPLETED}
    for job in jobs:
        told = store.events(job=job.name, limit=100_000)
        moves = [(e.data["before"], e.data["state"]) for e in told if e.kind == "state"]
        assert set(moves) <= LEGAL
        assert all(one[1] == other[0] for one, other in pairwise(moves))
        assert [state for _, state in moves].count("Completed") == 1
    note = f"{taken_back} of them with a job in hand"
    record("R17", "kills of workers on the store", tried=KILLS, note=note)


def _until_it_works(store: JobStore, slot: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while slot not in {lease.slot for lease in store.leases()}:
        assert time.monotonic() < deadline, f"{slot} is idle"
        _go_round(store)
        time.sleep(0.005)


def _go_round(store: JobStore) -> None:
    """While kills last there is work: a job that is done is asked for once more, as a new one."""
    for job in store.jobs(limit=JOBS):
        if job.state is State.COMPLETED:
            store.delete(job.name)
            store.submit(job.spec, owner=job.owner, name=job.name)
        elif job.state in STOPPED:
            store.resume(job.name)


def _wait_for_the_end(store: JobStore) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while {job.state for job in store.jobs(limit=JOBS)} != {State.COMPLETED}:
        assert time.monotonic() < deadline, "stuck"
        for job in store.jobs(limit=JOBS):
            if job.state in STOPPED:
                store.resume(job.name)
        time.sleep(0.05)
