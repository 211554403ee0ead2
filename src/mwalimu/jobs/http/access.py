"""Who may call what: one table, and a route that is not in it cannot be made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi import Request, Response
from fastapi.routing import APIRoute

from mwalimu.jobs.http.problems import refused
from mwalimu.jobs.records import Job, Owner, Role

VIEWER, SUBMITTER, ADMIN = Role.VIEWER, Role.SUBMITTER, Role.ADMIN

OPEN: frozenset[tuple[str, str]] = frozenset(
    {("GET", "/health"), ("GET", "/"), ("GET", "/static/{file:path}")}
)
"""No token: nothing of a user is told."""

ROLES: Mapping[tuple[str, str], Role] = {
    ("GET", "/metrics"): VIEWER,
    ("GET", "/v1/me"): VIEWER,
    ("GET", "/v1/me/webhook-secret"): SUBMITTER,
    ("GET", "/v1/openapi.json"): VIEWER,
    ("GET", "/v1/registry"): VIEWER,
    ("GET", "/v1/schema"): VIEWER,
    ("GET", "/v1/states"): VIEWER,
    ("POST", "/v1/jobs"): SUBMITTER,
    ("POST", "/v1/jobs/estimate"): SUBMITTER,
    ("GET", "/v1/jobs"): VIEWER,
    ("GET", "/v1/jobs/{job}"): VIEWER,
    ("DELETE", "/v1/jobs/{job}"): SUBMITTER,
    ("POST", "/v1/jobs/{job}/cancel"): SUBMITTER,
    ("POST", "/v1/jobs/{job}/pause"): SUBMITTER,
    ("POST", "/v1/jobs/{job}/resume"): SUBMITTER,
    ("POST", "/v1/jobs/{job}/ask"): SUBMITTER,
    ("GET", "/v1/jobs/{job}/config"): VIEWER,
    ("GET", "/v1/jobs/{job}/logs"): VIEWER,
    ("GET", "/v1/jobs/{job}/metrics"): VIEWER,
    ("GET", "/v1/jobs/{job}/progress"): VIEWER,
    ("GET", "/v1/jobs/{job}/funnel"): VIEWER,
    ("GET", "/v1/jobs/{job}/spend"): VIEWER,
    ("GET", "/v1/jobs/{job}/samples"): VIEWER,
    ("GET", "/v1/jobs/{job}/scores"): VIEWER,
    ("GET", "/v1/jobs/{job}/artefacts"): VIEWER,
    ("GET", "/v1/jobs/{job}/artefacts/{path:path}"): VIEWER,
    ("GET", "/v1/events"): VIEWER,
    ("GET", "/v1/compare"): VIEWER,
    ("GET", "/v1/models"): VIEWER,
    ("GET", "/v1/models/{model}"): VIEWER,
    ("POST", "/v1/models"): SUBMITTER,
    ("DELETE", "/v1/models/{model}/{version}"): ADMIN,
    ("GET", "/v1/models/{model}/{version}/download"): VIEWER,
    ("POST", "/v1/models/{model}/evaluate"): SUBMITTER,
    ("GET", "/v1/datasets"): VIEWER,
    ("GET", "/v1/datasets/{dataset}"): VIEWER,
    ("PUT", "/v1/datasets/{dataset}"): SUBMITTER,
    ("POST", "/v1/datasets/validate"): SUBMITTER,
    ("DELETE", "/v1/datasets/{dataset}"): SUBMITTER,
    ("GET", "/v1/tokens"): ADMIN,
    ("POST", "/v1/tokens"): ADMIN,
    ("DELETE", "/v1/tokens/{name}"): ADMIN,
    ("GET", "/v1/audit"): ADMIN,
}

_RANK = {VIEWER: 0, SUBMITTER: 1, ADMIN: 2}


def may(owner: Owner | None, role: Role) -> bool:
    return owner is not None and _RANK[owner.role] >= _RANK[role]


def require_owner(who: Owner, owner: str) -> None:
    """What is somebody's is changed by them and by admins. Raises Refused."""
    if who.name != owner and who.role is not ADMIN:
        raise refused(403, "belongs to somebody else", fix="ask its owner or an admin")


def require_owner_of(who: Owner, job: Job) -> Job:
    require_owner(who, job.owner)
    return job


class GuardedRoute(APIRoute):
    """Looks at the caller's role before any of the request's body is read; then at the query,
    where a name that means nothing is likely a slip that would change the answer.

    Raises KeyError, when it is made, if the table does not name it.
    """

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()
        (method,) = self.methods or set[str]()
        role = None if (method, self.path) in OPEN else ROLES[method, self.path]
        known = {one.alias for one in self.dependant.query_params}

        async def guarded(request: Request) -> Response:
            if role is not None and not may(request.scope["owner"], role):
                raise refused(403, f"needs the role {role}", fix="ask an admin for a token")
            if unknown := sorted(set(request.query_params) - known):
                fix = f"known here: {', '.join(sorted(known)) or 'none'}"
                raise refused(400, "is no parameter of this", where=repr(unknown[0][:80]), fix=fix)
            return await handle(request)

        return guarded
