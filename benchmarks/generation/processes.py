"""Two kinds of processes, each on a core of its own: the mock teacher and the client under test."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools import HERE

LOG = "log.txt"
MIB = 2**20


# As it was before this process pinned itself.
_allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def cores() -> tuple[set[int], set[int]]:
    """(the server's and the measurer's, the clients'); both empty where nothing can be pinned."""
    mine = sorted(_allowed)
    return ({mine[1]}, set(mine) - {mine[1]}) if len(mine) > 1 else (set(), set())


def pin(wanted: set[int]) -> None:
    if wanted:
        os.sched_setaffinity(0, wanted)


class MockTeacher:
    """server.py as a process; a context manager. Asked over one connection, and not often."""

    def __init__(self, latency_ms: float = 0.0, jitter_ms: float = 0.0) -> None:
        options = ["--latency-ms", str(latency_ms), "--jitter-ms", str(jitter_ms)]
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "server.py"), *options],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: pin(cores()[0]),
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the mock teacher did not start")
        self._address = self.url.removeprefix("http://").removesuffix("/v1")
        self._connection = http.client.HTTPConnection(self._address, timeout=60)

    def __enter__(self) -> MockTeacher:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def port(self) -> int:
        return int(self._address.rpartition(":")[2])

    def count(self) -> int:
        return int(self._get("/count"))

    def ledger(self) -> tuple[list[str], list[float]]:
        """Hashes and times of all that was billed."""
        content = self._get("/ledger")
        return content["hashes"], content["times"]

    def cpu_s(self) -> float:
        """CPU seconds so far, of user and system."""
        return _cpu_s(self._process.pid)

    def _get(self, path: str) -> Any:
        self._connection.request("GET", path)
        return json.loads(self._connection.getresponse().read())


class Client:
    """One call of a tool, with all processes that it starts, in a group of their own."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self.stopped = False
        with (folder / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: pin(cores()[1]),
            )

    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, limit_s: float) -> int:
        """The exit code; after `limit_s` the group is killed and `stopped` says so.

        A timer, for Popen.wait with a timeout only looks every 50 ms.
        """
        timer = threading.Timer(limit_s, self._stop)
        timer.start()
        code = self._process.wait()
        timer.cancel()
        timer.join()
        self.kill()
        return code

    def kill(self) -> None:
        """SIGKILL to the whole group; what is gone already is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def memory(self) -> tuple[float, int]:
        """(summed RSS in MiB, processes) of the group."""
        sizes = [_rss(entry, self._process.pid) for entry in os.scandir("/proc")]
        alive = [size for size in sizes if size]
        return sum(alive), len(alive)

    def cpu_s(self) -> float:
        """CPU seconds so far of the first process, of user and system; 0 when it has ended."""
        return _cpu_s(self._process.pid)

    def _stop(self) -> None:
        self.stopped = True
        self.kill()


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss(entry: os.DirEntry[str], group: int) -> float:
    if not entry.name.isdigit():
        return 0.0
    try:
        with open(f"/proc/{entry.name}/stat") as handle:
            fields = handle.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    pages = int(fields[21]) if int(fields[2]) == group else 0
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def closed_url() -> str:
    """Where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"
