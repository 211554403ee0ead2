"""The job service as an application: every route, the guard before it, the feed behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache, partial

from fastapi import FastAPI

from mwalimu.jobs.http.documented import document
from mwalimu.jobs.http.feed import Feed
from mwalimu.jobs.http.guard import Guard
from mwalimu.jobs.http.metrics import ServiceMetrics
from mwalimu.jobs.http.problems import add_problems
from mwalimu.jobs.http.routes import (
    about,
    admin,
    dashboard,
    datasets,
    events,
    jobs,
    models,
    playing,
    results,
)
from mwalimu.jobs.http.service import Service
from mwalimu.jobs.http.streams import Streams
from mwalimu.jobs.http.threads import places
from mwalimu.jobs.http.uploading import remove_unfinished

ROOMS = (about, jobs, results, events, playing, models, datasets, admin, dashboard)


def create_app(service: Service) -> FastAPI:
    """The workers are somebody else's: this only reads and writes the workspace."""
    streams = Streams(service.settings.quotas)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        remove_unfinished(service.workspace)
        app.state.feed = Feed(service.store)
        app.state.places = places()
        app.state.streams = streams
        yield
        app.state.feed.close()
        await asyncio.to_thread(service.playground.close)

    app = FastAPI(title="mwalimu jobs", lifespan=lifespan, openapi_url=None)
    app.state.service = service
    app.state.metrics = ServiceMetrics(service.store, streams.total)
    app.add_middleware(Guard, service=service)
    add_problems(app, service.workspace)
    for room in ROOMS:
        app.router.routes.extend(room.router.routes)
    app.openapi = cache(partial(document, app))  # type: ignore[method-assign]
    return app
