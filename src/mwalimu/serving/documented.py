"""What the OpenAPI document says of the responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from mwalimu.data.record import Json
from mwalimu.serving.settings import Settings

Responses = dict[int | str, dict[str, Any]]

_WHAT = {
    400: "the request is not valid",
    401: "no valid key",
    403: "not from this machine",
    404: "no such model",
    408: "the body did not arrive in time",
    413: "the body is too large",
    429: "the queue is full",
    500: "the model failed",
    501: "not installed",
    503: "loading or draining, or waited too long for a slot",
    504: "not finished in time",
}
_TEXT: Json = {"type": "string"}
_NUMBER: Json = {"type": "integer", "minimum": 0}


def _object(**properties: Json) -> Json:
    """All of them are required."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _array(items: Json) -> Json:
    return {"type": "array", "items": items}


def _or_null(kind: str, **more: Any) -> Json:
    return {"type": [kind, "null"]} | more


_ERROR = _object(
    error=_object(message=_TEXT, type=_TEXT, param=_or_null("string"), code=_or_null("string"))
)
_MESSAGE = _object(
    role={"const": "assistant"}, content=_or_null("string"), refusal={"type": "null"}
)
_MESSAGE["properties"]["tool_calls"] = _array({"type": "object"})
_CHOICE = _object(
    index=_NUMBER,
    message=_MESSAGE,
    finish_reason={"enum": ["stop", "length", "tool_calls"]},
    logprobs=_or_null("object"),
)
_COMPLETION = _object(
    id=_TEXT,
    object={"const": "chat.completion"},
    created=_NUMBER,
    model=_TEXT,
    choices=_array(_CHOICE),
    usage=_object(prompt_tokens=_NUMBER, completion_tokens=_NUMBER, total_tokens=_NUMBER),
)
_MODEL = _object(id=_TEXT, object={"const": "model"}, created=_NUMBER, owned_by=_TEXT)


_EVENT = _object(data=_TEXT)
_KEY = {"text/event-stream": "itemSchema"}
"""Of each event, as OpenAPI 3.2 has it; some readers of 3.1 take `schema` for that of one too."""


def _responses(description: str, bodies: Mapping[str, Json], *problems: int) -> Responses:
    good = {kind: {_KEY.get(kind, "schema"): schema} for kind, schema in bodies.items()}
    bad = {"application/json": {"schema": _ERROR}}
    described: Responses = {200: {"description": description, "content": good}}
    return described | {
        status: {"description": _WHAT[status], "content": bad} for status in problems
    }


CHAT = _responses(
    "the answer: an object, or with `stream` server-sent events that end in [DONE]",
    {"application/json": _COMPLETION, "text/event-stream": _EVENT},
    *_WHAT,
)
MODELS = _responses(
    "the one model",
    {"application/json": _object(object={"const": "list"}, data=_array(_MODEL))},
    *(401, 403, 413),
)
HEALTH = _responses(
    "requests are taken", {"application/json": _object(status=_TEXT)}, *(403, 413, 503)
)
METRICS = _responses("Prometheus' text format", {"text/plain": _TEXT}, *(401, 403, 413))


def document(app: FastAPI, settings: Settings) -> Json:
    """FastAPI's own, but for what only a running server knows: its model, and if it asks for keys.

    A 422 is never sent: what it would say is a 400, as with OpenAI.
    """
    found: Json = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = found["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name)
    schemas["ChatRequest"]["properties"]["model"]["enum"] = [settings.model]
    found["paths"]["/v1/chat/completions"]["post"]["responses"].pop("422")
    if settings.keys:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
        found["paths"]["/health"]["get"]["security"] = []
    return found
