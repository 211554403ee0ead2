"""The service where the machine refuses: a request ends with a word of why, a job with its code,
and the same again is done."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mwalimu.jobs.records import Lease
from mwalimu.jobs.states import State
from tests.command import processes
from tests.faults.calls import Calls
from tests.figures import record
from tests.jobs.lives import live
from tests.jobs.place import Place
from tests.jobs.servers import Servers
from tests.jobs.service import Running, running
from tests.tiny import make_tiny_model

CONTENT = b"".join(b'{"prompt": "q%d", "completion": "a"}\n' % n for n in range(30))
KINDS = [
    ("write", "ENOSPC", 507),
    ("write", "EIO", 503),
    ("fsync", "EDQUOT", 507),
    ("fsync", "EIO", 503),
    ("rename", "EIO", 503),
    ("open", "EMFILE", 503),
]
WORK = [("write", "ENOSPC", 5, 7), ("fsync", "EIO", 5, 13), ("open", "EMFILE", 20, 13)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service")) as found:
        yield found


def upload(place: Running, name: str, **fault: Any) -> tuple[httpx2.Response, int]:
    under = str(place.service.workspace.root)
    calls = Calls(under=under, **fault)
    take_out = calls.install()
    try:
        with place.client() as client:
            return client.put(f"/v1/datasets/{name}?task=qa", content=CONTENT), calls.count
    finally:
        take_out()


@pytest.mark.parametrize(("call", "error", "status"), KINDS)
def test_an_upload_is_whole_or_not_there(
    place: Running, call: str, error: str, status: int
) -> None:
    known = place.service.workspace.datasets / f"{hashlib.sha256(CONTENT).hexdigest()}.jsonl"
    known.unlink(missing_ok=True)
    answer, calls = upload(place, f"a-{call}-{error}".lower(), names=[call])
    assert answer.status_code == 201 and calls >= 1
    for at in range(1, calls + 1):
        name = f"b-{call}-{error}-{at}".lower()
        known.unlink()
        answer, _ = upload(place, name, names=[call], number=getattr(errno, error), at=at)
        told = answer.json()
        if answer.status_code != 201:
            assert answer.status_code == status, told
            assert set(told["error"]) >= {"what", "where", "fix", "code"}
            assert str(place.service.workspace.root) not in answer.text
            assert not known.exists() or known.read_bytes() == CONTENT
            answer, _ = upload(place, name, names=[])
        assert answer.status_code == 201
        assert known.read_bytes() == CONTENT
    record("R5", f"an upload, {error} at a {call}", tried=calls)


def test_no_descriptor_left_for_a_connection(tmp_path: Path) -> None:
    """A server at its limit of open files takes requests again as soon as it is below it."""
    servers = Servers(tmp_path / "service")
    url = servers.start().url
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        pid = servers.process.pid
        held = len(os.listdir(f"/proc/{pid}/fd"))
        _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (held + 6, most))
        with ExitStack() as stack:
            for _ in range(60):
                one = stack.enter_context(socket.create_connection(address, timeout=10))
                one.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n")  # and no end
            time.sleep(1.5)
            assert len(os.listdir(f"/proc/{pid}/fd")) >= held + 4, "it never came to its limit"
            assert servers.process.poll() is None
        assert healthy(url), "it does not take requests again"
        assert len(os.listdir(f"/proc/{pid}/fd")) <= held + 6
    finally:
        servers.end()
    record("R5", "a server without a descriptor left", tried=1)


def healthy(url: str) -> bool:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            if httpx2.get(f"{url}/health", timeout=5).status_code == 200:
                return True
        except httpx2.HTTPError:
            time.sleep(0.2)
    return False


def faulty(root: str, lease: dict[str, Any], fault: str) -> None:
    Calls(under=f"{root}/jobs", **json.loads(fault)).install()
    live(root, lease)


@pytest.mark.slow
@pytest.mark.parametrize(("call", "error", "at", "code"), WORK)
def test_a_job_fails_with_its_code_and_goes_on(
    tmp_path: Path, call: str, error: str, at: int, code: int
) -> None:
    place = Place(tmp_path / "service", make_tiny_model(tmp_path / "model"))
    job = place.submit(name="one")
    lease = place.store.claim("cpu-0", "cpu")
    assert isinstance(lease, Lease)
    given = {"names": [call], "at": at, "number": getattr(errno, error), "lasting": True}
    fault = json.dumps(given)
    worker = processes().Process(
        target=faulty, args=(str(place.workspace.root), asdict(lease), fault)
    )
    worker.start()
    worker.join(120)
    failed = place.store.get(job.name)
    assert failed.state == State.FAILED, place.log("one")
    assert failed.error is not None and failed.error["exit_code"] == code, failed.error
    place.store.resume(job.name)
    assert place.ended("one").state == State.COMPLETED
    record("R5", f"a job, {error} at a {call}", tried=1)
