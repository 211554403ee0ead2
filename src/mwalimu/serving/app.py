"""The HTTP surface: OpenAI's chat completions, the model list, health and metrics."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from mwalimu.errors import MwalimuError
from mwalimu.serving import metrics as exposition
from mwalimu.serving.answering import Answering, Asked, HungUp, unless_gone
from mwalimu.serving.cascade_contract import Cascade
from mwalimu.serving.chat_request import read_request
from mwalimu.serving.chat_response import Envelope, LogProbs, event, message_of, usage_of
from mwalimu.serving.documented import document
from mwalimu.serving.guard import HUNG_UP, Guard, respond
from mwalimu.serving.problems import Problem, Refused
from mwalimu.serving.scheduler import Engine
from mwalimu.serving.settings import Settings
from mwalimu.serving.streaming import chunks

_LOG = logging.getLogger(__name__)


class NamedRoute(Route):
    """Whoever watches the application finds it in the scope."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return match, {**child, "route": self}


class ChunkStream(StreamingResponse):
    """Calls `on_end` however it ends, even where nothing could be sent at all."""

    def __init__(self, content: AsyncIterator[bytes], on_end: Callable[[], None]) -> None:
        super().__init__(content, media_type="text/event-stream")
        self.headers["cache-control"] = "no-store"
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()


def create_app(
    engine: Engine, tokenizer: Any, settings: Settings, cascade: Cascade | None = None
) -> Starlette:
    """The application; `engine` is started by its owner.

    `tokenizer` is not the engine's: each is used by one thread. There is no FastAPI around it: its
    layers took a fifth of this thread's time (docs/log.md).
    """
    if cascade is not None:
        engine.metrics.watch_cascade(cascade)
    answering = Answering(engine, tokenizer, settings, cascade)
    log_probs = LogProbs(engine.tokenizer)
    created = int(time.time())
    described = cache(partial(document, settings))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        answering.close()

    async def chat(request: Request) -> Response:
        """An answer to a chat, whole or as a stream of server-sent events."""
        asked = read_request(request.headers.get("content-type", ""), await request.body())
        taken = await answering.submit(asked, request.scope.get("owner", ""))

        def free() -> None:
            engine.cancel(taken.jobs)

        envelope = Envelope(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), settings.model)
        if asked.stream:
            stream = chunks(answering, taken, envelope, log_probs)
            try:
                first = await unless_gone(request, anext(stream))
            except BaseException:
                free()
                raise
            return ChunkStream(_resumed(first, stream), free)
        try:
            return await _whole(request, taken, envelope)
        finally:
            free()

    async def _whole(request: Request, taken: Asked, envelope: Envelope) -> Response:
        done, model = await unless_gone(request, answering.finished(taken))
        choices = []
        for index, one in enumerate(done):
            answer = one.completion
            message, reason = message_of(answer.text, answer.finish_reason, taken.tools)
            choices.append(
                {
                    "index": index,
                    "message": message,
                    "finish_reason": reason,
                    "logprobs": log_probs.of(one) if taken.request.logprobs else None,
                }
            )
        envelope = Envelope(envelope.id, envelope.created, model)
        body = orjson.dumps(envelope.whole(choices, usage_of(taken.prompt_tokens, done)))
        return Response(body, media_type="application/json")

    async def models(request: Request) -> Response:
        """The one model that is served."""
        one = {"id": settings.model, "object": "model", "created": created, "owned_by": "mwalimu"}
        return JSONResponse({"object": "list", "data": [one]})

    async def health(request: Request) -> Response:
        """200 while requests are taken; 503 while the model loads, and once the server drains."""
        if engine.state == "serving":
            return JSONResponse({"status": engine.state})
        message = f"the server is {engine.state}"
        return respond(Problem(503, message, code=engine.state, retry_after=5))

    async def metrics(request: Request) -> Response:
        """Prometheus' text format."""
        return Response(engine.metrics.render(), media_type=exposition.CONTENT_TYPE)

    async def openapi(request: Request) -> Response:
        return JSONResponse(described())

    return Starlette(
        routes=[
            NamedRoute("/v1/chat/completions", chat, methods=["POST"]),
            NamedRoute("/v1/models", models),
            NamedRoute("/health", health),
            NamedRoute("/metrics", metrics),
            NamedRoute("/openapi.json", openapi),
        ],
        middleware=[Middleware(Guard, settings=settings, metrics=engine.metrics)],
        exception_handlers=_PROBLEMS,
        lifespan=lifespan,
    )


async def _resumed(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    try:
        async for chunk in rest:
            yield chunk
    except Refused as refused:  # too late for a status
        yield event(refused.problem.to_json())


async def _refused(request: Request, error: Any) -> Response:
    return respond(error.problem)


async def _http(request: Request, error: Any) -> Response:
    answer = respond(Problem(error.status_code, str(error.detail)))
    answer.headers.update(error.headers or {})
    return answer


async def _hung_up(request: Request, error: Any) -> Response:
    return Response(status_code=HUNG_UP)


async def _known(request: Request, error: Any) -> Response:
    return respond(Problem(501, str(error)))


async def _unknown(request: Request, error: Exception) -> Response:
    _LOG.error("a request failed", exc_info=error)
    return respond(Problem(500, "the server failed on this request"))


_PROBLEMS: dict[Any, Any] = {
    Refused: _refused,
    HTTPException: _http,
    HungUp: _hung_up,
    MwalimuError: _known,
    Exception: _unknown,
}
