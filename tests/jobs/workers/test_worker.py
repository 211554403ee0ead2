"""Workers as real processes: how their jobs end, whatever is done to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mwalimu.jobs.records import Job, Lease, Spec
from mwalimu.jobs.states import State
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.workers.holding import held, holder
from mwalimu.jobs.workers.launching import Launcher
from mwalimu.jobs.workspace import Workspace
from mwalimu.telemetry import tracing
from tests.jobs.labour import LEASE_S, PROGRAM, store_of
from tests.jobs.waiting import wait_for
from tests.telemetry.collector import collector


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def store(workspace: Workspace) -> JobStore:
    return store_of(workspace)


@pytest.fixture
def started(workspace: Workspace, store: JobStore) -> Iterator[Callable[..., Any]]:
    """A job with its lease and its worker."""
    workers: list[Any] = []

    def start(steps: int = 3, seconds: float = 0.02, **more: Any) -> tuple[Lease, Any]:
        spec = Spec("distillation", {"steps": steps, "seconds": seconds} | more)
        store.submit(spec, owner="amina")
        lease = store.claim("cpu-0", "cpu")
        assert lease is not None
        workers.append(Launcher(workspace, PROGRAM)(lease, {}))
        return lease, workers[-1]

    yield start
    for worker in workers:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


def is_running(store: JobStore, lease: Lease) -> bool:
    return store.get(lease.job).state is State.RUNNING


def test_a_job_is_done_step_by_step(store: JobStore, started: Callable[..., Any]) -> None:
    lease, worker = started()
    assert worker.wait(20) == 0
    job = store.get(lease.job)
    assert (job.state, job.summary, job.spent_usd) == (State.COMPLETED, {"steps": 3}, 0.5)
    events = store.events(job=job.name)
    assert [event.data["state"] for event in events if event.kind == "state"] == [
        *("Queued", "Starting", "Preparing", "Running", "Finalizing", "Completed")
    ]
    progress = [event.data for event in events if event.kind == "progress"]
    assert progress[-1] == {"stage": "labour", "done": 3, "total": 3, "note": ""}
    assert store.leases() == []


@pytest.mark.parametrize(
    ("ask", "end"),
    [(JobStore.cancel, State.CANCELED), (JobStore.pause, State.PAUSED)],
)
def test_a_worker_hears_a_request_to_stop(
    store: JobStore, started: Callable[..., Any], ask: Callable[..., Any], end: State
) -> None:
    lease, worker = started(steps=1000)
    wait_for(lambda: is_running(store, lease))
    ask(store, lease.job)
    assert worker.wait(10) == 0
    assert store.get(lease.job).state is end
    store.resume(lease.job)
    assert store.get(lease.job).state is State.QUEUED


def test_a_worker_that_is_told_to_end_gives_its_job_back(
    store: JobStore, started: Callable[..., Any]
) -> None:
    lease, worker = started(steps=1000)
    wait_for(lambda: is_running(store, lease))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    job = store.get(lease.job)
    assert (job.state, job.attempts, job.error) == (State.QUEUED, 0, None)


def test_a_worker_that_slept_beyond_its_lease_writes_nothing(
    workspace: Workspace, store: JobStore, started: Callable[..., Any]
) -> None:
    lease, worker = started(steps=1000)
    wait_for(lambda: is_running(store, lease))
    os.kill(worker.pid, signal.SIGSTOP)
    wait_for(store.take_back, LEASE_S + 5)
    evidence = (workspace.root / "evidence.jsonl").read_bytes()
    before = store.events(job=lease.job)
    assert holder(workspace.worker(lease.job)) == worker.pid  # the next worker would wait for it
    os.kill(worker.pid, signal.SIGCONT)
    assert worker.wait(5) == -signal.SIGKILL
    assert store.events(job=lease.job) == before
    late = (workspace.root / "evidence.jsonl").read_bytes().removeprefix(evidence)
    assert len(late.splitlines()) < 1000 * 0.02  # at most one tick of them, under its own lock
    assert holder(workspace.worker(lease.job)) is None


def test_a_second_worker_gives_the_job_back_while_the_first_lives(
    workspace: Workspace, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mwalimu.jobs.workers import worker as module

    monkeypatch.setattr(module, "DYING_S", 0.1)
    store.submit(Spec("distillation", {}), owner="amina", name="one")
    lease = store.claim("cpu-0", "cpu")
    assert lease is not None
    workspace.job("one").mkdir(parents=True)
    with held(workspace.worker("one"), patience_s=0):
        module.work(workspace, store, lease, lambda *_: pytest.fail("was done twice"))
    job = store.get("one")
    assert (job.state, job.attempts) == (State.QUEUED, 0)


def test_an_end_without_a_word_is_known_at_once(
    store: JobStore, started: Callable[..., Any]
) -> None:
    lease, worker = started(steps=1000)
    wait_for(lambda: is_running(store, lease))
    worker.kill()
    worker.wait()
    assert store.take_back_of(lease)
    job: Job = store.get(lease.job)
    assert (job.state, job.attempts) == (State.QUEUED, 1)
    assert not store.take_back_of(lease)


def test_a_full_disk_ends_with_its_own_line(workspace: Workspace, store: JobStore) -> None:
    store.submit(Spec("distillation", {"steps": 1, "seconds": 0, "bytes": 4 << 20}), owner="amina")
    lease = store.claim("cpu-0", "cpu")
    assert lease is not None
    limit = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20));"
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{limit} runpy.run_module('tests.jobs.labour', run_name='__main__')",
            "--workspace",
            str(workspace.root),
        ],
        input=json.dumps(asdict(lease)),
        text=True,
        capture_output=True,
    )
    job = store.get(lease.job)
    assert job.state is State.FAILED, run.stderr
    assert job.error is not None
    assert (job.error["what"], job.error["exit_code"]) == ("no space left on the disk", 7)


def test_every_line_of_a_worker_tells_whose_it_is(
    workspace: Workspace, started: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = workspace.root / "log.jsonl"
    monkeypatch.setenv("MWALIMU_LOG", str(log))
    lease, worker = started()
    assert worker.wait(20) == 0
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    assert [line["event"] for line in lines] == ["worker begins", "worker ended"]
    for line in lines:
        told = (line["job"], line["worker"], line["slot"])
        assert told == (lease.job, worker.pid, "cpu-0")


def test_a_job_is_in_the_trace_of_what_submitted_it(
    workspace: Workspace,
    store: JobStore,
    started: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its worker is another process, and may begin on another day."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    with collector() as found:
        monkeypatch.setenv(tracing.ENDPOINTS[0], found.url)
        tracing.begin()
        try:
            with tracing.span("POST", kind="server"):
                lease, worker = started()
            assert worker.wait(20) == 0
        finally:
            tracing.end()
    spans = {span.name: span for span in found.spans()}
    assert spans["job"].attributes == {"mwalimu.job": lease.job}
    assert (spans["job"].parent, spans["job"].trace) == (spans["POST"].id, spans["POST"].trace)
    repeated = store.submit(store.get(lease.job).spec, owner="amina", name="again")
    assert repeated.trace == {}, "nothing is traced now"


def test_a_log_that_a_worker_cannot_have_is_gone_without(
    store: JobStore,
    workspace: Workspace,
    started: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MWALIMU_LOG", str(workspace.root / "none" / "log.jsonl"))
    lease, worker = started()
    assert worker.wait(20) == 0
    assert store.get(lease.job).state is State.COMPLETED
