"""Answers that no route gives have what every answer has."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx2
import pytest

from mwalimu.jobs.http import server
from mwalimu.jobs.http.front import HEADERS, RETRY_S
from mwalimu.jobs.records import Role
from tests.jobs.service import Running, running
from tests.jobs.waiting import wait_for

MOST = 4


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(server, "CONNECTIONS", MOST)
    with running(tmp_path) as found:
        yield found


def connected(place: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", httpx2.URL(place.url).port or 0), timeout=20)


def said(connection: socket.socket, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Up to the end of the connection."""
    connection.sendall(request)
    told = b"".join(iter(lambda: connection.recv(4096), b""))
    head, _, body = told.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


@pytest.mark.parametrize(
    "request_", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nx y\r\n\r\n"]
)
def test_what_is_no_http_is_a_problem_like_any_other(service: Running, request_: bytes) -> None:
    with closing(connected(service)) as connection:
        status, headers, body = said(connection, request_)
    error = json.loads(body)["error"]
    assert (status, error["code"], headers["connection"]) == (400, "not_valid", "close")
    assert headers["content-type"] == "application/json"
    assert headers.items() >= {key: value.lower() for key, value in HEADERS.items()}.items()


def test_one_connection_too_many_is_told_so(small: Running) -> None:
    host = small.url.removeprefix("http://")
    ask = f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    with ExitStack() as stack:
        for _ in range(MOST):
            stack.enter_context(closing(connected(small)))
        open_ones = small.server.server_state.connections
        wait_for(lambda: len(open_ones) == MOST, 20)
        with closing(connected(small)) as connection:
            status, headers, body = said(connection, ask)
    assert (status, json.loads(body)["error"]["code"]) == (503, "unavailable")
    assert headers["retry-after"] == str(RETRY_S)
    assert headers.items() >= {key: value.lower() for key, value in HEADERS.items()}.items()
    wait_for(lambda: not open_ones, 20)
    with closing(connected(small)) as connection:
        assert said(connection, ask)[0] == 200


def test_what_fails_in_the_service_says_nothing_and_is_as_safe(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise ValueError("of a secret")

    monkeypatch.setattr(type(service.service.store), "jobs", break_down)
    with service.client(Role.VIEWER) as client:
        answer = client.get("/v1/jobs")
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "failed"
    assert "secret" not in answer.text
    assert answer.headers.items() >= HEADERS.items()
