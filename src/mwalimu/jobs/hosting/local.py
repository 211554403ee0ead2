"""The service of one workspace on this machine: found, or started as a process of its own."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from mwalimu.errors import RunError
from mwalimu.jobs.client.pinning import trusted
from mwalimu.jobs.client.place import Place
from mwalimu.jobs.client.problems import ServiceUnreachable
from mwalimu.jobs.workspace import Workspace

STARTED_WITHIN_S = 60.0
_LOOK_S = 0.1


def running_service(workspace: Workspace) -> Place:
    """The one that runs, or else a new one, which goes on after this process has ended.

    Two processes that ask at once get the same one.

    Raises:
        ServiceUnreachable: it ended at once, or did not answer within a minute; its log says why.
    """
    if found := find(workspace):
        return found
    workspace.root.mkdir(parents=True, exist_ok=True)
    with _alone(workspace.root / "starting.lock"):
        return find(workspace) or _start(workspace)


def find(workspace: Workspace) -> Place | None:
    """The one whose address is in the workspace, if it answers."""
    try:
        facts = json.loads(workspace.service.read_text())
        url, certificate = str(facts["url"]), facts.get("certificate")
        place = Place(url, workspace.token.read_text().strip(), certificate)
        verify = trusted(url, certificate)
        answer = httpx2.get(f"{url}/health", timeout=5.0, trust_env=False, verify=verify)
    except (OSError, ValueError, KeyError, TypeError, httpx2.HTTPError):
        return None
    return place if answer.is_success else None


def _start(workspace: Workspace) -> Place:
    log = workspace.root / "server.log"
    command = [sys.executable, "-m", "mwalimu", "server"]
    with log.open("ab") as written:
        process = subprocess.Popen(
            [*command, "--workspace", str(workspace.root), "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C is meant for whoever asked
        )
    until = time.monotonic() + STARTED_WITHIN_S
    while process.poll() is None and time.monotonic() < until:
        if found := find(workspace):
            process.returncode = 0  # it goes on without us, and nobody waits for it
            return found
        time.sleep(_LOOK_S)
    if process.poll() is None:
        process.terminate()
    raise ServiceUnreachable(
        "did not start", where="the local service", fix=f"{_last_line(log)} (all of it in {log})"
    )


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time; the lock ends with its holder, however that ends."""
    try:
        file = lock.open("w")
    except OSError as error:
        raise RunError(f"cannot be written ({error.strerror})", where=str(lock.parent)) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
