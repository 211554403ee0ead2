"""What happens, as it happens: server-sent events, and a job's log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from mwalimu.jobs.http.access import GuardedRoute
from mwalimu.jobs.http.asked import After, NamePath
from mwalimu.jobs.http.documented import text
from mwalimu.jobs.http.feed import Feed
from mwalimu.jobs.http.logs import follow as follow_log
from mwalimu.jobs.http.service import Here, Who
from mwalimu.jobs.http.streams import Stream
from mwalimu.jobs.states import ENDED
from mwalimu.jobs.submission import Name

EVENTS, LOG = "text/event-stream", "text/plain; charset=utf-8"

router = APIRouter(route_class=GuardedRoute)


@router.get("/v1/events", responses=text("text/event-stream"))
async def events(
    request: Request,
    here: Here,
    who: Who,
    after: After | None = None,
    job: Annotated[Name | None, Query()] = None,
    follow: bool = False,
) -> Response:
    """`id: number`, `event: kind`, `data: the event`; with `follow` until the caller goes.

    Without `after` all there is; with `follow`, what happens from now on.
    """
    feed: Feed = request.app.state.feed
    if not follow:
        return StreamingResponse(feed.past(after or 0, job), media_type=EVENTS)
    if after is None:
        stream = _from(await anyio.to_thread.run_sync(here.store.newest_event), job, feed)
    else:
        stream = feed.follow(after, job)
    return Stream(stream, EVENTS, request.app.state.streams.place(who))


async def _from(newest: int, job: str | None, feed: Feed) -> AsyncIterator[bytes]:
    """Its number goes first, so that a reader who loses the stream can say where it was."""
    yield f"id: {newest}\n\n".encode()
    async for event in feed.follow(newest, job):
        yield event


@router.get("/v1/jobs/{job}/logs", responses=text("text/plain"))
async def logs(
    request: Request, job: NamePath, here: Here, who: Who, after: After = 0, follow: bool = False
) -> Response:
    """From byte `after`; with `follow` until the job has ended."""
    await anyio.to_thread.run_sync(here.store.get, job)
    feed = request.app.state.feed

    def more() -> bool:
        return not feed.closed and here.store.get(job).state not in ENDED

    pieces: AsyncIterator[bytes] = follow_log(
        here.workspace.log(job), after, more=more, whole=not follow
    )
    if not follow:
        return StreamingResponse(pieces, media_type=LOG)
    return Stream(pieces, LOG, request.app.state.streams.place(who))
