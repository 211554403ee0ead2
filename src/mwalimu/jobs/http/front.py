"""What stands before the application: every answer passes here, also those that it does not give.

The web server's own refusals, of what is no HTTP and of one connection too many, are problems in
the application's words.
"""

from __future__ import annotations

from collections.abc import Sized

import h11
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mwalimu.jobs.http.problems import Problem, respond
from mwalimu.serving.bounds import PromptProtocol

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none';"
    " frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Go with every answer that says nothing else of them."""

RETRY_S = 5
CROWDED = Problem(503, "too many connections are open", fix="try again later", retry_s=RETRY_S)
NO_HTTP = Problem(400, "is no HTTP request", where="the request")


class Front:
    """`connections` are those that are open, of which there may be `most`."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most
        self.connections: Sized = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = MutableHeaders(raw=message["headers"])
                for name, value in HEADERS.items():
                    told.setdefault(name, value)
            await send(message)

        if scope["type"] == "http" and len(self.connections) > self.most:
            answer = respond(CROWDED)
            answer.headers["connection"] = "close"
            await answer(scope, receive, send_headed)
        else:
            await self.app(scope, receive, send_headed)


class Protocol(PromptProtocol):
    def send_400_response(self, msg: str) -> None:
        """In place of uvicorn's own, which has none of the headers."""
        answer = respond(NO_HTTP)
        told = {**HEADERS, **answer.headers, "connection": "close"}
        headers = [(name.encode(), value.encode()) for name, value in told.items()]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
