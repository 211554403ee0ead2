"""The service itself: whether it is up, who asks, and what a submission may say."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Request, Response
from typing_extensions import TypedDict

from mwalimu.config import Config
from mwalimu.data.record import Json
from mwalimu.jobs.http.access import GuardedRoute
from mwalimu.jobs.http.documented import good, text
from mwalimu.jobs.http.metrics import CONTENT_TYPE
from mwalimu.jobs.http.service import Here, Who
from mwalimu.jobs.http.told import tell
from mwalimu.jobs.states import ENDED, HELD, VERBS, State
from mwalimu.jobs.webhooks.signing import secret_of, service_secret

router = APIRouter(route_class=GuardedRoute)


class Health(TypedDict):
    status: str


class Me(TypedDict):
    name: str
    role: str
    quota: Json
    used: Json


class Secret(TypedDict):
    secret: str


class Known(TypedDict):
    teachers: list[Json]
    students: list[Json]
    quickstart: Json


class StateTold(TypedDict):
    state: str
    held: bool
    ended: bool
    verbs: list[str]


class StatesTold(TypedDict):
    states: list[StateTold]


@router.get("/health", responses=good(Health))
async def health() -> Response:
    """Whether requests are taken."""
    return tell(Health(status="ok"))


@router.get("/metrics", responses=text("text/plain"))
def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    return Response(request.app.state.metrics.render(), media_type=CONTENT_TYPE)


@router.get("/v1/me", responses=good(Me))
def me(here: Here, who: Who, request: Request) -> Response:
    """Whose token this is, what they may have and what they use of it."""
    quota, used = here.store.standing(who.name)
    now = asdict(used) | {"streams": request.app.state.streams.of(who.name)}
    return tell(Me(name=who.name, role=who.role, quota=quota.model_dump(), used=now))


@router.get("/v1/me/webhook-secret", responses=good(Secret))
def webhook_secret(here: Here, who: Who) -> Response:
    """What the receiver of this caller's webhooks knows their signatures by."""
    secret = secret_of(service_secret(here.workspace.webhook_secret), who.name)
    return tell(Secret(secret=secret))


@router.get("/v1/registry", responses=good(Known))
def registry() -> Response:
    """The teachers and students that a submission may name; the quickstart's settings."""
    return tell(_known())


@router.get("/v1/schema", responses=good(dict[str, Any]))
def schema() -> Response:
    """The JSON schema of a submission's `config`."""
    return tell(_schema())


@router.get("/v1/states", responses=good(StatesTold))
def states() -> Response:
    """The states of a job: whether a worker has it, whether it has ended, what may be asked."""
    return tell(StatesTold(states=[_state(state) for state in State]))


@router.get("/v1/openapi.json", responses=good(dict[str, Any]))
def openapi(request: Request) -> Response:
    """This interface, for programs."""
    return tell(request.app.openapi())


def _known() -> Known:
    from mwalimu.quickstart.job import settings
    from mwalimu.registry import display, search
    from mwalimu.registry.students import search_students

    return Known(
        teachers=json.loads(display.as_json(search())),
        students=json.loads(display.students_as_json(search_students())),
        quickstart=settings(seed=0),
    )


def _state(state: State) -> StateTold:
    verbs = [verb for verb, states in VERBS.items() if state in states]
    return StateTold(state=state, held=state in HELD, ended=state in ENDED, verbs=verbs)


@lru_cache(1)
def _schema() -> Json:
    return Config.model_json_schema()
