"""What the OpenAPI document says of the answers; the shapes are those of `told`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from mwalimu.data.record import Json
from mwalimu.jobs.http.access import OPEN
from mwalimu.jobs.http.told import ProblemTold, Responses

_PROBLEM = {"model": ProblemTold, "description": "a problem"}
_PROBLEMS: Responses = dict.fromkeys((400, 401, 403, 404, 408, 409, 413), _PROBLEM)
_PROBLEMS |= dict.fromkeys((429, 500, 503, 507), _PROBLEM)


def good(shape: Any) -> Responses:
    return _PROBLEMS | {200: {"model": shape, "description": "as asked"}}


def created(shape: Any) -> Responses:
    return _PROBLEMS | {201: {"model": shape, "description": "made"}}


def nothing() -> Responses:
    return _PROBLEMS | {204: {"description": "gone"}}


_EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}


def text(media_type: str, schema: Json | None = None) -> Responses:
    """Of a stream of events `schema` is each event's, as OpenAPI 3.2 has it."""
    if media_type == "text/event-stream":
        content = {media_type: {"itemSchema": schema or _EVENT}}
    else:
        content = {media_type: {"schema": schema or {"type": "string"}}}
    return _PROBLEMS | {200: {"content": content, "description": "as asked"}}


def rows_of_text() -> Json:
    """A request whose body is a file of rows."""
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return {"requestBody": {"required": True, "content": content}}


def document(app: FastAPI) -> Json:
    """FastAPI's own, but that a token is needed, and that 422 is never sent."""
    found: Json = get_openapi(title=app.title, version=app.version, routes=app.routes)
    for name in ("HTTPValidationError", "ValidationError"):
        found["components"]["schemas"].pop(name, None)
    found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    found["security"] = [{"token": []}]
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            operation["responses"].pop("422", None)
            if (method.upper(), path) in OPEN:
                operation["security"] = []
    return found
