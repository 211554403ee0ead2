"""How long the store takes with many jobs in it: `python benchmarks/service/store.py`.

The file is on the disk of the folder given, or of the system's temporary one. What that disk takes
for a durable write of 4 KiB at the end of a file is printed for scale.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from mwalimu.jobs.records import Lease, Role, Spec
from mwalimu.jobs.settings import Quota, Quotas
from mwalimu.jobs.states import State
from mwalimu.jobs.store.datasets import DatasetStore
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.store.tokens import TokenStore

OWNERS = [f"owner-{number}" for number in range(20)]
WAITING = 500
QUOTAS = Quotas(queue=1_000_000, default=Quota(waiting=None, running=50, usd=1e9))
ENDS = [State.COMPLETED] * 7 + [State.FAILED, State.CANCELED, State.PAUSED]
CONFIG = {
    "task": "conversation",
    "budget": {"usd": 5.0},
    "data": {"train": "datasets/" + "0" * 64 + ".jsonl"},
    "teacher": {"model": "deepseek-v3", "system": "x" * 500},
    "finetune": {f"setting_{number}": number for number in range(60)},
}
SPEC = Spec("distillation", CONFIG, tags={"team": "edge"}, registers=("student", "baseline"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="*", default=[1_000, 100_000])
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--reports", type=int, default=1_000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    for jobs in arguments.jobs:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            store = filled(Path(folder), jobs)
            size = (Path(folder) / "service.db").stat().st_size
            print(f"\n{jobs:,} jobs, {WAITING} of them waiting; the file has {size / 1e6:.0f} MB")
            print(f"{'':<28}{'median ms':>10}{'p99 ms':>10}")
            for name, call in reads(store).items():
                show(name, measured(call, arguments.times))
            for name, call in writes(store).items():
                show(name, measured(call, arguments.times))
            show("one durable write", measured(partial(durable, folder), arguments.times))
    print_growth(arguments.reports, arguments.folder)


def print_growth(reports: int, parent: Path | None) -> None:
    """What a chatty worker leaves behind."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        store = JobStore(Path(folder) / "service.db")
        store.submit(SPEC, owner="owner-3", name="j")
        lease = claimed(store, "cpu:0")
        for done in range(reports):
            data = {"stage": f"stage-{done % 5}", "done": done, "total": reports, "note": ""}
            store.report(lease, "progress", data)
        held, size = len(store.events()), sum(p.stat().st_size for p in Path(folder).iterdir())
        print(f"\nafter {reports:,} reports: {held} events, {size / 1e6:.1f} MB with the log")


def filled(folder: Path, jobs: int) -> JobStore:
    """As years of use leave it, written in one go."""
    store, draw = (
        JobStore(folder / "service.db", quotas=QUOTAS, lease_s=3600, retention_days=1e6),
        random.Random(0),
    )
    tokens = TokenStore(store.database)
    for owner in OWNERS:
        tokens.make(owner, Role.SUBMITTER)
    written = json.dumps(asdict(SPEC))
    with store.database.change() as db:
        for number in range(jobs):
            state = State.QUEUED if number >= jobs - WAITING else draw.choice(ENDS)
            at = float(number)
            ended = None if state is State.QUEUED else at
            owner = draw.choice(OWNERS)
            db.execute(
                "INSERT INTO jobs (name, owner, state, kind, spec, priority, resource, created,"
                " changed, started, ended, reserved_usd, spent_usd)"
                " VALUES (?, ?, ?, 'distillation', ?, 0, 'cpu', ?, ?, ?, ?, 5.0, 1.0)",
                (f"job-{number}", owner, state, written, at, at, ended, ended),
            )
            for kind in ("state",) * 6 + ("progress",) * 4:
                db.execute(
                    "INSERT INTO events (job, time, kind, data) VALUES (?, ?, ?, ?)",
                    (f"job-{number}", at, kind, json.dumps({"stage": "generate", "done": 1})),
                )
    return store


def reads(store: JobStore) -> dict[str, Callable[[], object]]:
    middle = store.jobs(limit=1)[0].created / 2
    newest = store.newest_event()
    return {
        "a job": lambda: store.get("job-7"),
        "page of 100": lambda: store.jobs(),
        "page of 100, the middle one": lambda: store.jobs(before=middle),
        "page of 100, an owner's": lambda: store.jobs(owner="owner-3"),
        "page of 100, failed": lambda: store.jobs(state=State.FAILED),
        "page of 100, owner and state": lambda: store.jobs(owner="owner-3", state=State.FAILED),
        "page of 100, no such kind": lambda: store.jobs(kind="evaluation"),
        "events: none is new": lambda: store.events(after=newest),
        "events: the last 100": lambda: store.events(after=newest - 100),
        "events of a job": lambda: store.events(job="job-7"),
        "quota and use of an owner": lambda: store.standing("owner-3"),
        "leases": lambda: store.leases(),
    }


def writes(store: JobStore) -> dict[str, Callable[[], object]]:
    held, datasets = claimed(store, "cpu:0"), DatasetStore(store.database)
    return {
        "submit": lambda: store.submit(SPEC, owner="owner-3"),
        "claim and give back": lambda: store.give_back(claimed(store, "cpu:1")),
        "claim of a taken slot": lambda: store.claim("cpu:0", "cpu"),
        "heartbeat": lambda: store.heartbeat(held),
        "report": lambda: store.report(held, "progress", {"stage": "generate", "done": 1}),
        "who uses a dataset": lambda: datasets.users("rows"),
        "expire: none is old": lambda: store.expire(),
        "take back: none is late": lambda: store.take_back(),
    }


def claimed(store: JobStore, slot: str) -> Lease:
    lease = store.claim(slot, "cpu")
    assert lease is not None
    return lease


def durable(folder: str) -> None:
    with open(Path(folder) / "probe", "ab") as handle:
        handle.write(bytes(4096))
        handle.flush()
        os.fsync(handle.fileno())


def measured(call: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each call."""
    found = []
    for _ in range(times):
        before = time.perf_counter()
        call()
        found.append((time.perf_counter() - before) * 1e3)
    return found


def show(name: str, found: list[float]) -> None:
    p99 = statistics.quantiles(found, n=100)[98]
    print(f"{name:<28}{statistics.median(found):>10.2f}{p99:>10.2f}", flush=True)


if __name__ == "__main__":
    main()
