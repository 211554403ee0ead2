"""`mwalimu serve` as a process of its own: asked over HTTP, watched from outside."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mwalimu.errors import StudentError
from mwalimu.evaluation.load import Ask, Served

START_S, ANSWER_S = 180.0, 120.0
SLOTS = 8


@dataclass(frozen=True, slots=True)
class Arm:
    """A model to serve, in the runtime that its folder is of."""

    name: str
    folder: Path
    parameters: int
    weights_mib: float


class Server:
    """Runs while it is entered: one thread for the model, `SLOTS` answers at once."""

    def __init__(self, arm: Arm, log: Path) -> None:
        self.arm = arm
        self.log = log
        self._connections = threading.local()

    def __enter__(self) -> Server:
        self.port = _free_port()
        command = [sys.executable, "-m", "mwalimu.cli", "serve", str(self.arm.folder)]
        command += ["--port", str(self.port), "--threads", "1", "--slots", str(SLOTS)]
        command += ["--name", "desk", "--queue", "256"]
        with open(self.log, "wb") as handle:
            self.process = subprocess.Popen(
                command,
                stdout=handle,
                stderr=subprocess.STDOUT,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        try:
            self._wait_until_healthy()
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _wait_until_healthy(self) -> None:
        give_up = time.monotonic() + START_S
        while time.monotonic() < give_up and self.process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.2)
        raise StudentError(
            "the server did not start", where=str(self.arm.folder), fix=str(self.log)
        )

    def asking(self, chats: Sequence[Sequence[dict[str, Any]]]) -> Ask:
        """Asks the chat of a number, whole answers, over one kept connection a client."""
        bodies = [
            json.dumps({"model": "desk", "messages": list(chat), "temperature": 0}).encode()
            for chat in chats
        ]

        def ask(number: int) -> Served:
            answer = self._post(bodies[number % len(bodies)])
            return Served(None, answer["usage"]["completion_tokens"])

        return ask

    def _post(self, body: bytes) -> dict[str, Any]:
        """Raises OSError where there is no answer."""
        for attempt in range(2):  # a kept connection may have been closed while it was idle
            connection = getattr(self._connections, "own", None)
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
                self._connections.own = connection
            try:
                headers = {"Content-Type": "application/json"}
                connection.request("POST", "/v1/chat/completions", body, headers)
                response = connection.getresponse()
                content = response.read()
            except (http.client.HTTPException, ConnectionError):
                connection.close()
                self._connections.own = None
                if attempt:
                    raise ConnectionError("the server does not answer") from None
                continue
            if response.status != 200:
                raise OSError(f"status {response.status}: {content[:200]!r}")
            found: dict[str, Any] = json.loads(content)
            return found
        raise AssertionError("unreachable")

    def cpu_seconds(self) -> float:
        """Processor time of all threads so far, to the nanosecond; Linux's own count."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def memory_mib(self, field: str = "VmHWM") -> float:
        """Of the whole process: `VmHWM` the most so far, `VmRSS` now."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port
