"""What a request must pass before any of its content is looked at; counts and times it too.

On loopback the Host header must name this machine: a page of a hostile site can make its own name
point here (DNS rebinding), but cannot choose that header. So must Origin, if a browser sent one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mwalimu.serving.addresses import LOOPBACK, named_host, place_of
from mwalimu.serving.bounds import bounded, says_too_much, too_large
from mwalimu.serving.metrics import Metrics
from mwalimu.serving.problems import Problem
from mwalimu.serving.settings import Settings

_OPEN = frozenset({"/health"})
HUNG_UP = 499


class Guard:
    """Bounds what a client sends and how slowly: 401, 403, 408, 413 in OpenAI's shape."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app = app
        self.settings = settings
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), HUNG_UP
        max_body, timeout = self.settings.max_body, self.settings.body_timeout

        async def send_in_time(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            async with asyncio.timeout(self.settings.send_timeout):
                await send(message)

        try:
            if problem := self._problem(scope):
                await respond(problem)(scope, receive, send_in_time)
            else:
                body = bounded(receive, max_body=max_body, timeout=timeout)
                await self.app(scope, body, send_in_time)
        except TimeoutError:
            status = HUNG_UP  # it does not read what it asked for
        finally:
            self.metrics.requests.labels(str(status)).inc()
            self.metrics.request_seconds.observe(time.monotonic() - started)

    def _problem(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        if self.settings.loopback_only and not _is_local(headers):
            return Problem(403, "the Host or Origin header does not name this machine")
        scope["owner"] = owner = self._owner(headers)
        if owner is None and scope["path"] not in _OPEN:
            message = "a valid key is needed: Authorization: Bearer <key>"
            return Problem(401, message, code="invalid_api_key")
        if says_too_much(headers, self.settings.max_body):
            return Problem(413, too_large(self.settings.max_body))
        return None

    def _owner(self, headers: Headers) -> str | None:
        """Who asks, as a name that tells nothing of the key; None for a stranger."""
        keys = self.settings.keys
        if not keys:
            return ""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
        # All are compared, whichever fits: the time tells nothing.
        fits = [known for known in keys if hmac.compare_digest(known, given)]
        return fits[0].hex()[:16] if fits and scheme.lower() == "bearer" else None


def respond(problem: Problem) -> JSONResponse:
    return JSONResponse(problem.to_json(), problem.status, problem.headers)


def digest(key: str) -> bytes:
    """As `Settings.keys` holds it."""
    return hashlib.sha256(key.encode()).digest()


def _is_local(headers: Headers) -> bool:
    places: list[str | None] = [headers.get("host", "")]
    if (origin := headers.get("origin")) is not None:
        places.append(place_of(origin))
    return all(place is not None and named_host(place) in LOOPBACK for place in places)
