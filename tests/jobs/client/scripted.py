"""A server on a real socket that answers what a test says, or hangs up in the middle of it."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from mwalimu.data.record import Json


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """`cut`: bytes of the body after which the connection is closed, though more was promised."""

    status: int = 200
    body: bytes = b""
    cut: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


HANG_UP = Answer(0)


def tell(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode())


def refuse(status: int, what: str, **more: str) -> Answer:
    return tell({"error": {"what": what, "where": "", "fix": "", "code": "x", **more}}, status)


def a_job(name: str = "one", state: str = "Running", **more: Any) -> Json:
    return {
        "name": name,
        "owner": "me",
        "kind": "distillation",
        "state": state,
        "created": 1.0,
        "changed": 2.0,
        "from_a_newer_service": 1,
        **more,
    }


class Scripted:
    """`answer` is asked for every request, in the order in which they come."""

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.asked: list[Asked] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while (asked := _read(self.rfile)) is not None:
                    outer.asked.append(asked)
                    if not _write(self.wfile, answer(asked)):
                        return

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _read(lines: Any) -> Asked | None:
    first = lines.readline().decode()
    if not first.strip():
        return None
    method, path, _ = first.split(" ", 2)
    headers = {}
    while (line := lines.readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(lines.readline(), 16):
            body += lines.read(size)
            lines.readline()
        lines.readline()
    else:
        body = lines.read(int(headers.get("content-length", 0)))
    return Asked(method, path, headers, body)


def _write(out: Any, answer: Answer) -> bool:
    """Whether the connection stays."""
    if answer.status == 0:
        return False
    head = {"content-length": str(len(answer.body)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} x", *(f"{k}: {v}" for k, v in head.items())]
    body = answer.body if answer.cut is None else answer.body[: answer.cut]
    out.write("\r\n".join([*lines, "", ""]).encode() + body)
    return answer.cut is None
