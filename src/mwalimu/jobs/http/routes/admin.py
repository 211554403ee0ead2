"""What admins alone may do: tokens, and the audit log."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request, Response
from typing_extensions import TypedDict

from mwalimu.jobs.http.access import GuardedRoute
from mwalimu.jobs.http.asked import After, Limit, NamePath, NewToken
from mwalimu.jobs.http.documented import created, good, nothing
from mwalimu.jobs.http.service import Here
from mwalimu.jobs.http.told import tell
from mwalimu.jobs.paging import PAGE

router = APIRouter(route_class=GuardedRoute)


class TokenTold(TypedDict):
    name: str
    role: str
    created: float
    expires: float | None
    last_used: float | None


class TokensTold(TypedDict):
    tokens: list[TokenTold]


class NewTokenTold(TypedDict):
    name: str
    role: str
    expires: float | None
    token: str


class EntryTold(TypedDict):
    number: int
    time: float
    who: str
    what: str
    on: str
    status: int
    address: str


class AuditTold(TypedDict):
    entries: list[EntryTold]


@router.get("/v1/tokens", responses=good(TokensTold))
def tokens(here: Here) -> Response:
    """Whose there are; nothing can tell a token again."""
    return tell({"tokens": [asdict(token) for token in here.tokens.all()]})


@router.post("/v1/tokens", status_code=201, responses=created(NewTokenTold))
def make(asked: NewToken, here: Here, request: Request) -> Response:
    """Shows the token once."""
    token = here.tokens.make(asked.name, asked.role, expires=asked.expires)
    request.scope["touched"] = asked.name
    told = NewTokenTold(name=asked.name, role=asked.role, expires=asked.expires, token=token)
    return tell(told, 201)


@router.delete("/v1/tokens/{name}", status_code=204, responses=nothing())
def revoke(name: NamePath, here: Here) -> Response:
    """Works from the next request on."""
    here.tokens.revoke(name)
    return Response(status_code=204)


@router.get("/v1/audit", responses=good(AuditTold))
def audit(here: Here, after: After = 0, limit: Limit = PAGE) -> Response:
    """Who asked for which change, in order."""
    return tell({"entries": [asdict(one) for one in here.audit.entries(after=after, limit=limit)]})
