"""The dashboard's files, by exact name."""

from __future__ import annotations

from functools import lru_cache

from fastapi import APIRouter, Request, Response

from mwalimu.jobs.dashboard import HEADERS, INDEX, File, packaged
from mwalimu.jobs.http.access import GuardedRoute
from mwalimu.jobs.http.problems import refused

router = APIRouter(route_class=GuardedRoute)


@router.get("/", include_in_schema=False)
async def index(request: Request) -> Response:
    """The dashboard."""
    return _answer(request, INDEX)


@router.get("/static/{file:path}", include_in_schema=False)
async def static(request: Request, file: str) -> Response:
    """What its pages are made of."""
    return _answer(request, file)


def _answer(request: Request, name: str) -> Response:
    file = _files().get(name)
    if file is None:
        raise refused(404, "the dashboard has no such file")
    headers = {**HEADERS, "ETag": file.etag}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


@lru_cache(1)
def _files() -> dict[str, File]:
    return packaged()
