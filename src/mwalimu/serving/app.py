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
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from mwalimu.errors import MwalimuError
from mwalimu.serving import metrics as exposition
from mwalimu.serving.answering import Answering, Asked, HungUp, unless_gone
from mwalimu.serving.cascade_contract import Cascade
from mwalimu.serving.chat_request import ChatRequest
from mwalimu.serving.chat_response import Envelope, LogProbs, event, message_of, usage_of
from mwalimu.serving.documented import CHAT, HEALTH, METRICS, MODELS, document
from mwalimu.serving.guard import HUNG_UP, Guard, respond
from mwalimu.serving.problems import Problem, Refused
from mwalimu.serving.scheduler import Engine
from mwalimu.serving.settings import Settings
from mwalimu.serving.streaming import chunks

_LOG = logging.getLogger(__name__)


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
) -> FastAPI:
    """The application; `engine` is started by its owner.

    `tokenizer` is not the engine's: each is used by one thread.
    """
    if cascade is not None:
        engine.metrics.watch_cascade(cascade)
    answering = Answering(engine, tokenizer, settings, cascade)
    log_probs = LogProbs(engine.tokenizer)
    created = int(time.time())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        answering.close()

    app = FastAPI(title="mwalimu", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Guard, settings=settings, metrics=engine.metrics)
    _add_problems(app)
    app.openapi = cache(partial(document, app, settings))  # type: ignore[method-assign]

    @app.post("/v1/chat/completions", responses=CHAT)
    async def chat(asked: ChatRequest, request: Request) -> Response:
        """An answer to a chat, whole or as a stream of server-sent events."""
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

    @app.get("/v1/models", responses=MODELS)
    async def models() -> Response:
        """The one model that is served."""
        one = {"id": settings.model, "object": "model", "created": created, "owned_by": "mwalimu"}
        return JSONResponse({"object": "list", "data": [one]})

    @app.get("/health", responses=HEALTH)
    async def health() -> Response:
        """200 while requests are taken; 503 while the model loads, and once the server drains."""
        if engine.state == "serving":
            return JSONResponse({"status": engine.state})
        message = f"the server is {engine.state}"
        return respond(Problem(503, message, code=engine.state, retry_after=5))

    @app.get("/metrics", responses=METRICS)
    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(engine.metrics.render(), media_type=exposition.CONTENT_TYPE)

    return app


async def _resumed(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    try:
        async for chunk in rest:
            yield chunk
    except Refused as refused:  # too late for a status
        yield event(refused.problem.to_json())


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return respond(error.problem)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:])) or "body"
        return respond(Problem(400, f"{where}: {first['msg']}", param=where))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        answer = respond(Problem(error.status_code, str(error.detail)))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(HungUp)
    async def hung_up(request: Request, error: HungUp) -> Response:
        return Response(status_code=HUNG_UP)

    @app.exception_handler(MwalimuError)
    async def known(request: Request, error: MwalimuError) -> Response:
        return respond(Problem(501, str(error)))

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> Response:
        _LOG.error("a request failed", exc_info=error)
        return respond(Problem(500, "the server failed on this request"))
