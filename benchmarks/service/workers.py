"""How quickly the service's machinery turns, with jobs that do nothing but count.

    python benchmarks/service/workers.py [--jobs 40]

Prints the median and the 95th percentile of: a job that is submitted to an idle server -> its work
begins; kill -9 of its worker -> the next worker is at work; cancel -> Canceled; and of what a
report of progress takes from the job that makes it.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mwalimu.jobs.records import Job, Spec
from mwalimu.jobs.states import State
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.workers.holding import holder
from mwalimu.jobs.workers.launching import Launcher
from mwalimu.jobs.workers.pulse import Pulse
from mwalimu.jobs.workers.slots import slots_of
from mwalimu.jobs.workers.supervisor import Supervisor
from mwalimu.jobs.workers.task import Outcome, Task, Work
from mwalimu.jobs.workers.worker import main
from mwalimu.jobs.workspace import Workspace

POLL_S = 0.002
TOGETHER = 100  # reports


def count(task: Task) -> Outcome:
    """Until it is stopped."""
    task.enter(State.RUNNING)
    done = 0
    while True:
        done += 1
        task.tell("count", done, 1 << 40, "")
        time.sleep(0.01)


def work_of(job: Job, workspace: Workspace) -> Work:
    return Work(count)


def until(condition: Callable[[], object]) -> float:
    """Seconds that it took."""
    began = time.perf_counter()
    while not condition():
        time.sleep(POLL_S)
    return time.perf_counter() - began


def one_job(workspace: Workspace, store: JobStore) -> tuple[float, float, float]:
    """Seconds from submitted to begun, from killed to begun again, from cancel to Canceled."""

    def runs() -> bool:
        return store.get(name).state is State.RUNNING

    name = store.submit(Spec("distillation", {}), owner="benchmark").name
    begun = until(runs)
    worker = holder(workspace.worker(name))
    assert worker is not None
    os.killpg(worker, signal.SIGKILL)
    again = until(lambda: store.get(name).attempts == 2 and runs())
    store.cancel(name)
    return begun, again, until(lambda: store.get(name).state is State.CANCELED)


def telling(store: JobStore, rounds: int = 200) -> list[float]:
    """Microseconds that one report takes, in the mean of some at a time."""
    store.submit(Spec("distillation", {}, resource="none"), owner="benchmark")
    lease = store.claim("none-0", "none")
    assert lease is not None
    found = []
    with Pulse(store, lease, lambda: None) as pulse:
        for _ in range(rounds):
            began = time.perf_counter()
            for done in range(TOGETHER):
                pulse.tell("count", done, TOGETHER, "")
            found.append((time.perf_counter() - began) / TOGETHER * 1e6)
            time.sleep(0.01)
    store.give_back(lease)
    return found


def shown(name: str, found: list[float], unit: str = "s") -> str:
    late = statistics.quantiles(found, n=20, method="inclusive")[-1]
    return f"{name}: median {statistics.median(found):.2f} {unit}, 95 % {late:.2f} {unit}"


def measure(jobs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        store = JobStore(workspace.database)
        launch = Launcher(workspace, (str(Path(__file__).absolute()),))
        slots = slots_of({"cpu": 1})
        with Supervisor(workspace, store, slots, launch, note=lambda line: None):
            found = [one_job(workspace, store) for _ in range(jobs)]
        begun, again, stopped = (list(column) for column in zip(*found, strict=True))
        print(f"{jobs} jobs one after the other, {os.cpu_count()} cores")
        print(shown("submitted to begun", begun))
        print(shown("kill -9 to begun again", again))
        print(shown("cancel to Canceled", stopped))
        print(shown("a report of progress", telling(store), "us"))


if __name__ == "__main__":
    if "--workspace" in sys.argv:
        sys.exit(main(work_of))
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=40)
    measure(parser.parse_args().jobs)
