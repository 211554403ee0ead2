"""Starts a worker as a process that outlives the server, and ends one that has to go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Protocol

from mwalimu.jobs.records import Lease
from mwalimu.jobs.workspace import Workspace

WORKER = ("-m", "mwalimu.jobs.workers.worker")
QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}  # a log is read, not watched


class Worker(Protocol):
    """A process that was started: its id, and its exit code once it has ended."""

    pid: int

    def poll(self) -> int | None: ...


class Launcher:
    """`program` are the arguments to Python that start a worker."""

    def __init__(self, workspace: Workspace, program: Sequence[str] = WORKER) -> None:
        self.workspace = workspace
        self.program = program

    def __call__(self, lease: Lease, environment: Mapping[str, str]) -> Worker:
        """What it prints is appended to the job's log. Raises OSError: it cannot be started."""
        log = self.workspace.log(lease.job)
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as lines:
            process = subprocess.Popen(
                [sys.executable, *self.program, "--workspace", str(self.workspace.root.absolute())],
                stdin=subprocess.PIPE,
                stdout=lines,
                stderr=lines,
                env={**os.environ, **QUIET, **environment},
                start_new_session=True,
            )
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin as given:  # it ended at once: `poll` tells
            given.write(json.dumps(asdict(lease)).encode())
        return process


def end(pid: int) -> None:
    """Asks a worker to stop where it can go on later."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def kill(pid: int) -> None:
    """A worker with all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
