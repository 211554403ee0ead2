"""What a request must pass before any of its content is looked at.

The Host header must name this machine, or a name that the server's owner gave: a page of a hostile
site can make its own name point here (DNS rebinding), but cannot choose that header. Origin, if a
browser sent one, must be this very service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mwalimu.jobs.http.problems import Problem, respond
from mwalimu.jobs.http.service import Service
from mwalimu.jobs.records import Owner
from mwalimu.serving.addresses import LOOPBACK, named_host, place_of
from mwalimu.serving.bounds import bounded, says_too_much, too_large

READS = frozenset({"GET", "HEAD", "OPTIONS"})
UPLOADS = "/v1/datasets/"

STRANGER = Problem(401, "a valid token is needed", fix="send Authorization: Bearer <token>")
FOREIGN = Problem(403, "the Host or Origin header does not name this service")


class Guard:
    """401, 403, 408, 413; the audit of every change that somebody with a token asked for."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        if scope["type"] != "http":
            return
        limits = self.service.limits
        headers = Headers(scope=scope)
        scope["owner"] = None

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._audit(scope, message["status"])
            async with asyncio.timeout(limits.send_timeout):
                await send(message)

        max_body = limits.max_upload if scope["path"].startswith(UPLOADS) else limits.max_body
        try:
            if problem := await self._problem(scope, headers, max_body):
                await respond(problem)(scope, receive, send_guarded)
            else:
                body = bounded(receive, max_body=max_body, timeout=limits.body_timeout)
                await self.app(scope, body, send_guarded)
        except TimeoutError:
            pass  # it does not read what it asked for

    async def _problem(self, scope: Scope, headers: Headers, max_body: int) -> Problem | None:
        if not is_ours(headers, self.service.settings.allowed_hosts):
            return FOREIGN
        scope["owner"] = await self._owner(headers)
        if scope["owner"] is None and not _is_open(scope["method"], scope["path"]):
            return STRANGER
        if says_too_much(headers, max_body):
            return Problem(413, too_large(max_body))
        return None

    async def _owner(self, headers: Headers) -> Owner | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        return await asyncio.to_thread(self.service.tokens.find, token)

    async def _audit(self, scope: Scope, status: int) -> None:
        who: Owner | None = scope["owner"]
        if who is None or scope["method"] in READS:
            return
        route = scope.get("route")
        what = f"{scope['method']} {route.path if route else 'elsewhere'}"
        named = scope.get("touched") or "/".join(map(str, scope.get("path_params", {}).values()))
        address = (scope.get("client") or ("",))[0]
        add = partial(self.service.audit.add, who=who.name, what=what, on=named[:300])
        await asyncio.to_thread(add, status=status, address=address)


def is_ours(headers: Headers, allowed: Iterable[str]) -> bool:
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    if len(hosts) != 1 or named_host(hosts[0]) not in LOOPBACK.union(allowed):
        return False
    return all(place_of(origin) == hosts[0].lower() for origin in origins)


def _is_open(method: str, path: str) -> bool:
    return method == "GET" and (path in ("/", "/health") or path.startswith("/static/"))
