"""Around an application of ours: each request has a name that its client may give and is told,
and, where somebody watches, a log line and a span."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from mwalimu.telemetry import context, logs, tracing
from mwalimu.telemetry.setting_up import is_on

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
OnAnswer = Callable[[str, str, float], None]
"""Told the method, the status, and the seconds that a request took."""

HEADER = b"x-request-id"
NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""What is taken for a client's name of a request; another gets a name that is drawn."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
HUNG_UP = "499"


class Telling:
    """An ASGI application. `on_answer` may be set later."""

    def __init__(self, app: App, on_answer: OnAnswer | None = None) -> None:
        self.app = app
        self.on_answer = on_answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == HEADER), b"")
        name = given if NAME.fullmatch(given) else secrets.token_hex(16).encode()
        status = HUNG_UP
        began = time.perf_counter()

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
                message["headers"] = [*message.get("headers", ()), (HEADER, name)]
            await send(message)

        try:
            if is_on():
                with _watched(scope, name.decode(), lambda: status):
                    await self.app(scope, receive, send_named)
            else:
                await self.app(scope, receive, send_named)
        finally:
            if self.on_answer is not None:
                self.on_answer(method_of(scope), status, time.perf_counter() - began)


def method_of(scope: Scope) -> str:
    """A client may write any word there: they are not counted one by one."""
    method = str(scope["method"])
    return method if method in METHODS else "other"


@contextmanager
def _watched(scope: Scope, name: str, status: Callable[[], str]) -> Iterator[None]:
    parent = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
    method, path = method_of(scope), str(scope["path"])
    attributes = {"http.request.method": method, "url.path": path, "mwalimu.http_request": name}
    began = time.perf_counter()
    with (
        context.bound(http_request=name),
        tracing.span(method, attributes, kind="server", parent=parent) as span,
    ):
        try:
            yield
        finally:
            route = getattr(scope.get("route"), "path", None)
            span.set(http__response__status_code=int(status()), http__route=route)
            if status() >= "500":
                span.failed(status())
            seconds = round(time.perf_counter() - began, 6)
            logs.say("http", method=method, path=path, status=status(), latency_s=seconds)
