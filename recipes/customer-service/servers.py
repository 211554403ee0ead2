"""`mwalimu serve` as a process of its own: asked over HTTP, watched from outside."""

from __future__ import annotations

import http.client
import json
import os
import queue
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mwalimu.errors import StudentError
from mwalimu.evaluation.load import Ask, Served

START_S, ANSWER_S = 180.0, 120.0
SLOTS = 8
PATH = "/v1/chat/completions"


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
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()

    def __enter__(self) -> Server:
        self.port = _free_port()
        command = [sys.executable, "-m", "mwalimu", "serve", str(self.arm.folder)]
        command += ["--port", str(self.port), "--threads", "1", "--slots", str(SLOTS)]
        command += ["--name", "desk", "--queue", "256"]
        with open(self.log, "wb") as handle:
            self.process = subprocess.Popen(
                command,
                stdout=handle,
                stderr=subprocess.STDOUT,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C ends it through `__exit__`, once, in order
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
        while not self._idle.empty():
            self._idle.get().close()
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
                with closing(self._connection()) as by:
                    by.request("GET", "/health")
                    if by.getresponse().status == 200:
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
        status, content = self._exchange(body, self._connection())
        if status != 200:
            raise OSError(f"status {status}: {content[:200]!r}")
        found: dict[str, Any] = json.loads(content)
        return found

    def _exchange(self, body: bytes, by: http.client.HTTPConnection) -> tuple[int, bytes]:
        """A kept connection that the server closed meanwhile is opened anew, once."""
        for last in (False, True):
            try:
                by.request("POST", PATH, body, {"Content-Type": "application/json"})
                response = by.getresponse()
                content = response.read()
            except (http.client.HTTPException, ConnectionError) as error:
                by.close()
                if last:
                    raise OSError(f"the server does not answer ({error})") from None
                continue
            self._idle.put(by)
            return response.status, content
        raise AssertionError("unreachable")

    def _connection(self) -> http.client.HTTPConnection:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)

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
