"""Workers that do little but ask the store; to be killed at any moment."""

from __future__ import annotations

import fcntl
import os
import random
import time
from pathlib import Path

from mwalimu.errors import RunError
from mwalimu.jobs.records import Lease
from mwalimu.jobs.states import ENDED, State
from mwalimu.jobs.store.job_store import JobStore

STEPS = [State.PREPARING, State.RUNNING, State.FINALIZING, State.COMPLETED]
ENDS = {State.CANCEL_REQUESTED: State.CANCELED, State.PAUSE_REQUESTED: State.PAUSED}


def opened(folder: Path) -> JobStore:
    """Leases that outlive any stall: who is killed is known, and taken back by its slot."""
    return JobStore(folder / "service.db", lease_s=600, max_attempts=10_000)


def work(folder: Path, slot: str) -> None:
    """Until it is killed."""
    store = opened(folder)
    while True:
        lease = store.claim(slot, "cpu")
        if lease is None:
            time.sleep(0.01)
        else:
            _alone(folder, store, lease)


def _alone(folder: Path, store: JobStore, lease: Lease) -> None:
    """The lock of the job's file goes with the process: whoever finds it taken is a second one."""
    with open(folder / f"{lease.job}.lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            (folder / "held-twice").write_text(lease.job)
        _steps(store, lease)


def _steps(store: JobStore, lease: Lease) -> None:
    for step in STEPS:
        time.sleep(random.uniform(0, 0.01))
        for done in range(random.randrange(3)):
            store.report(lease, "progress", {"stage": step, "done": done})
        asked = store.heartbeat(lease)
        if asked in ENDS and step not in ENDED:
            return _stopped(store, lease)
        store.advance(lease, step)


def _stopped(store: JobStore, lease: Lease) -> None:
    """A pause may become a cancel in between."""
    while True:
        try:
            return store.advance(lease, ENDS[store.heartbeat(lease)])
        except RunError:
            continue


def open_at_once(path: Path, go: Path) -> None:
    """Waits for `go`, so that several begin together."""
    while not go.exists():
        os.sched_yield()
    JobStore(path)
