"""The OpenAPI document: what may be asked, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mwalimu import __version__
from mwalimu.data.record import Json
from mwalimu.serving.chat_request import ChatRequest
from mwalimu.serving.settings import Settings

_SCHEMAS = "#/components/schemas/"

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


def _responses(description: str, bodies: Mapping[str, Json], *problems: int) -> Json:
    good = {kind: {_KEY.get(kind, "schema"): schema} for kind, schema in bodies.items()}
    bad = {"application/json": {"schema": _ERROR}}
    return {"200": {"description": description, "content": good}} | {
        str(status): {"description": _WHAT[status], "content": bad} for status in problems
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


def document(settings: Settings) -> Json:
    """With what only a running server knows: its model, and if it asks for keys."""
    chat = ChatRequest.model_json_schema(ref_template=_SCHEMAS + "{model}")
    schemas = chat.pop("$defs") | {"ChatRequest": chat}
    chat["properties"]["model"]["enum"] = [settings.model]
    asked = {"application/json": {"schema": {"$ref": _SCHEMAS + "ChatRequest"}}}
    found: Json = {
        "openapi": "3.1.0",
        "info": {"title": "mwalimu", "version": __version__},
        "paths": {
            "/v1/chat/completions": {
                "post": {
                    "summary": "An answer to a chat, whole or as a stream of server-sent events",
                    "requestBody": {"required": True, "content": asked},
                    "responses": CHAT,
                }
            },
            "/v1/models": {"get": {"summary": "The one model", "responses": MODELS}},
            "/health": {"get": {"summary": "Whether requests are taken", "responses": HEALTH}},
            "/metrics": {"get": {"summary": "For Prometheus", "responses": METRICS}},
        },
        "components": {"schemas": schemas},
    }
    if settings.keys:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
        found["paths"]["/health"]["get"]["security"] = []
    return found
