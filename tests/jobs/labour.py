"""A worker whose work is a few short steps, and which leaves evidence of every one of them.

    python -m tests.jobs.labour --workspace DIR < lease.json
    python -m tests.jobs.labour server DIR CPUS

`evidence.jsonl` in the workspace has a line for each step, with the process that took it. While a
job is worked on its process holds a lock of the test's own: who finds it held says so.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from mwalimu.files import atomic_writer, write_json
from mwalimu.jobs.records import Job
from mwalimu.jobs.states import State
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.workers.launching import Launcher
from mwalimu.jobs.workers.slots import slots_of
from mwalimu.jobs.workers.supervisor import Supervisor
from mwalimu.jobs.workers.task import Outcome, Task, Work
from mwalimu.jobs.workers.worker import main
from mwalimu.jobs.workspace import Workspace

LEASE_S = 3.0
PROGRAM = ("-m", "tests.jobs.labour")


def store_of(workspace: Workspace) -> JobStore:
    lease_s = float(os.environ.get("LABOUR_LEASE_S", LEASE_S))
    return JobStore(workspace.database, lease_s=lease_s, max_attempts=1000)


def leave(workspace: Workspace, **facts: Any) -> None:
    """One whole line, durable against a killed process."""
    line = json.dumps(facts | {"pid": os.getpid(), "time": time.time()}) + "\n"
    with open(workspace.root / "evidence.jsonl", "ab", buffering=0) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.write(line.encode())


def labour(task: Task) -> Outcome:
    """`steps` of `seconds`; where an earlier life was, this one goes on."""
    name, config = task.job.name, task.job.spec.config
    with open(task.folder / "alone", "wb") as alone:
        try:
            fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            leave(task.workspace, job=name, step="TWICE AT ONCE")
        if size := config.get("bytes"):
            with atomic_writer(task.folder / "large") as handle:
                handle.write(b"x" * size)
        task.enter(State.RUNNING)
        place = task.workspace.run(name) / "step.json"
        done = json.loads(place.read_bytes()) if place.exists() else 0
        for step in range(done, config["steps"]):
            leave(task.workspace, job=name, step=step)
            time.sleep(config["seconds"])
            write_json(place, step + 1)
            task.tell("labour", step + 1, config["steps"], "")
        task.enter(State.FINALIZING)
        leave(task.workspace, job=name, step="end")
        atexit.register(time.sleep, config.get("lingers", 0))
        return Outcome({"steps": config["steps"]})


def work_of(job: Job, workspace: Workspace) -> Work:
    return Work(labour, lambda: {"usd": 0.5, "requests": 1, "tokens": 2})


def serve(root: Path, cpus: int) -> None:
    """A server without HTTP: it ends well at SIGTERM, and is killed otherwise."""
    workspace = Workspace(root)
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    launch = Launcher(workspace, PROGRAM)
    with Supervisor(workspace, store_of(workspace), slots_of({"cpu": cpus}), launch):
        leave(workspace, job="server", step="up")
        done.wait()


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main(work_of))
