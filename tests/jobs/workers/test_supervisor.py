"""The supervisor with real workers, in this process and in a server of its own that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mwalimu.jobs.records import Spec
from mwalimu.jobs.states import State
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.workers import supervisor as module
from mwalimu.jobs.workers.holding import holder
from mwalimu.jobs.workers.launching import Launcher
from mwalimu.jobs.workers.slots import default_slots, slots_of
from mwalimu.jobs.workers.supervisor import Supervisor
from mwalimu.jobs.workspace import Workspace
from tests.jobs.labour import LEASE_S, PROGRAM, store_of
from tests.jobs.waiting import wait_for

LONG: dict[str, Any] = {"steps": 10_000, "seconds": 0.02}
SHORT: dict[str, Any] = {"steps": 2, "seconds": 0.01}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    found = Workspace(tmp_path)
    yield found
    for lease in store_of(found).leases():
        if (pid := holder(found.worker(lease.job))) is not None:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


@pytest.fixture
def store(workspace: Workspace) -> JobStore:
    return store_of(workspace)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> JobStore:
    """With leases so long that what happens within a minute is not because one is over."""
    monkeypatch.setenv("LABOUR_LEASE_S", "120")
    return store_of(workspace)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUND_S", 0.05)


def supervised(workspace: Workspace, store: JobStore, cpus: int = 2, **more: Any) -> Supervisor:
    slots = slots_of({"cpu": cpus})
    return Supervisor(workspace, store, slots, Launcher(workspace, PROGRAM), **more)


def submit(store: JobStore, config: dict[str, Any], name: str, priority: int = 0) -> None:
    store.submit(Spec("distillation", config, priority=priority), owner="amina", name=name)


def in_state(store: JobStore, name: str, state: State) -> Callable[[], bool]:
    return lambda: store.get(name).state is state


def worker_of(workspace: Workspace, name: str) -> int:
    return wait_for(lambda: holder(workspace.worker(name)) or 0)


def test_jobs_are_done_by_priority_in_as_many_slots_as_there_are(
    workspace: Workspace, store: JobStore
) -> None:
    for number in range(4):
        submit(store, SHORT, f"job{number}", priority=number)
    with supervised(workspace, store, cpus=1):
        wait_for(lambda: len(store.jobs(state=State.COMPLETED)) == 4)
    started = sorted(store.jobs(), key=lambda job: job.started or 0)
    assert [job.name for job in started] == ["job3", "job2", "job1", "job0"]


def test_a_killed_worker_is_replaced_at_once(workspace: Workspace, patient: JobStore) -> None:
    store = patient
    submit(store, LONG, "one")
    with supervised(workspace, store):
        first = worker_of(workspace, "one")
        os.killpg(first, signal.SIGKILL)
        second = wait_for(lambda: (found := holder(workspace.worker("one"))) != first and found, 60)
        assert second
        assert store.get("one").attempts == 2
        store.cancel("one")
        wait_for(in_state(store, "one", State.CANCELED))


def test_a_stopped_worker_is_ended_when_its_lease_is_over(
    workspace: Workspace, store: JobStore
) -> None:
    submit(store, LONG, "one")
    with supervised(workspace, store):
        first = worker_of(workspace, "one")
        wait_for(in_state(store, "one", State.RUNNING))
        os.kill(first, signal.SIGSTOP)
        wait_for(lambda: holder(workspace.worker("one")) not in (first, None))
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
        store.cancel("one")
        wait_for(in_state(store, "one", State.CANCELED))


def test_a_job_may_last_longer_than_a_lease(workspace: Workspace, store: JobStore) -> None:
    submit(store, {"steps": 5, "seconds": 0.3 * LEASE_S}, "one")
    with supervised(workspace, store):
        wait_for(in_state(store, "one", State.COMPLETED))
    assert store.get("one").attempts == 1


@pytest.mark.parametrize(("lingers", "patience"), [(1.0, 30.0), (60.0, 0.5)])
def test_a_slot_is_free_when_the_process_in_it_has_ended(
    lingers: float,
    patience: float,
    workspace: Workspace,
    store: JobStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that does not end after its last word is ended."""
    monkeypatch.setattr(module, "ENDING_S", patience)
    submit(store, SHORT | {"lingers": lingers}, "one", priority=1)
    submit(store, SHORT, "two")
    with supervised(workspace, store, cpus=1):
        wait_for(in_state(store, "two", State.COMPLETED))
    ended, begun = store.get("one").ended, store.get("two").started
    assert ended and begun
    assert 0.5 <= begun - ended < 10
    assert store.get("one").state is State.COMPLETED


def test_at_the_end_jobs_are_given_back_and_the_next_server_goes_on(
    workspace: Workspace, store: JobStore
) -> None:
    submit(store, {"steps": 40, "seconds": 0.02}, "one")
    with supervised(workspace, store):
        wait_for(in_state(store, "one", State.RUNNING))
    job = store.get("one")
    assert (job.state, job.attempts) == (State.QUEUED, 0)
    assert store.leases() == []
    with supervised(workspace, store):
        wait_for(in_state(store, "one", State.COMPLETED))
    steps = (workspace.root / "evidence.jsonl").read_text().splitlines()
    assert len(steps) <= 42  # one step may be taken again, and the end is a line


def server(workspace: Workspace) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *PROGRAM, "server", str(workspace.root), "1"])


def test_workers_outlive_a_killed_server_and_the_next_one_finds_them(
    workspace: Workspace, patient: JobStore
) -> None:
    store = patient
    submit(store, LONG, "one")
    first = server(workspace)
    worker = worker_of(workspace, "one")
    wait_for(in_state(store, "one", State.RUNNING))
    first.kill()
    first.wait()
    second = server(workspace)
    submit(store, SHORT, "two")
    time.sleep(1.5)  # the only slot is taken, by a worker that is not its own
    assert store.get("two").state is State.QUEUED
    assert holder(workspace.worker("one")) == worker
    os.killpg(worker, signal.SIGKILL)  # not a child of the second one, which sees its lock go
    wait_for(lambda: holder(workspace.worker("one")) not in (worker, None), 60)
    second.terminate()
    assert second.wait(60) == 0
    assert store.leases() == []
    assert store.get("one").state is State.QUEUED


def test_a_job_whose_worker_cannot_be_started_waits(
    workspace: Workspace, store: JobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(store, SHORT, "one")
    real = Launcher(workspace, PROGRAM)
    refusals = iter([OSError(11, "Resource temporarily unavailable"), None])

    def start(lease: Any, environment: Any) -> Any:
        if (refusal := next(refusals, None)) is not None:
            raise refusal
        return real(lease, environment)

    with Supervisor(workspace, store, slots_of({"cpu": 1}), start):
        wait_for(in_state(store, "one", State.COMPLETED))
    assert store.get("one").attempts == 1
    assert "temporarily unavailable" in capsys.readouterr().err


def test_a_cpu_job_sees_no_gpu_and_a_gpu_job_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-7")
    found = {
        slot.name: slot.environment["CUDA_VISIBLE_DEVICES"]
        for slot in slots_of({"cpu": 1, "gpu": 2})
    }
    assert found == {"cpu-0": "", "gpu-0": "3", "gpu-1": "GPU-7"}


def test_gpus_are_those_that_the_driver_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    lines = "".join(f"echo 'GPU {n}: H200 (UUID: GPU-{n})'\n" for n in range(2))
    program.write_text(f"#!/bin/sh\n{lines}")
    program.chmod(0o700)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert default_slots() == {"cpu": 1, "gpu": 2}
    program.unlink()
    assert default_slots() == {"cpu": 1}


def test_housekeeping_is_done_at_the_start(workspace: Workspace, store: JobStore) -> None:
    done: list[int] = []
    with supervised(workspace, store, housekeeping=lambda: done.append(1)):
        wait_for(lambda: done)


def test_what_goes_wrong_again_and_again_is_said_once(
    workspace: Workspace, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOUSEKEEPING_S", 0.0)
    said: list[str] = []

    def housekeeping() -> None:
        raise ValueError("a bug")

    submit(store, SHORT, "one")
    with supervised(workspace, store, housekeeping=housekeeping, note=said.append):
        wait_for(in_state(store, "one", State.COMPLETED))
    assert said.count("supervisor: ValueError: a bug") == 1
