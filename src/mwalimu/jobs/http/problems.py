"""What a request can be refused with: `{"error": {"what", "where", "fix", "code"}}`."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from mwalimu.data.record import Json
from mwalimu.errors import (
    ConfigError,
    DataError,
    DiskFull,
    MachineError,
    MissingDependency,
    MwalimuError,
    RunError,
    machine_error,
)
from mwalimu.jobs.http.told import tell
from mwalimu.jobs.refusals import NotFound, QuotaReached
from mwalimu.jobs.workspace import Workspace

_LOG = logging.getLogger(__name__)

CODES = {
    400: "not_valid",
    401: "no_token",
    403: "forbidden",
    404: "not_found",
    405: "not_allowed",
    408: "too_slow",
    409: "conflict",
    413: "too_large",
    429: "quota",
    500: "failed",
    503: "unavailable",
    507: "disk_full",
}
"""Of each status, the word for programs."""

_STATUS: tuple[tuple[type[MwalimuError], int], ...] = (
    (NotFound, 404),
    (QuotaReached, 429),
    (RunError, 409),
    (ConfigError, 400),
    (DataError, 400),
    (DiskFull, 507),
    (MachineError, 503),
    (MissingDependency, 503),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """`rows` are those of a data file that are bad; `retry_s` when to come again, in seconds."""

    status: int
    what: str
    where: str = ""
    fix: str = ""
    rows: tuple[Json, ...] = ()
    retry_s: int | None = None

    def to_json(self) -> Json:
        told: Json = {"what": self.what, "where": self.where, "fix": self.fix}
        told["code"] = CODES.get(self.status, "not_valid")
        return {"error": told | ({"rows": list(self.rows)} if self.rows else {})}


class Refused(Exception):
    """A request that ends with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem = problem


def refused(status: int, what: str, *, where: str = "", fix: str = "") -> Refused:
    return Refused(Problem(status, what, where, fix))


def respond(problem: Problem) -> Response:
    answer = tell(problem.to_json(), problem.status)
    if problem.retry_s is not None:
        answer.headers["Retry-After"] = str(problem.retry_s)
    return answer


def problem_of(error: MwalimuError, workspace: Workspace) -> Problem:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 400)
    told = workspace.told
    return Problem(status, told(error.what), told(error.where), told(error.fix))


def add_problems(app: FastAPI, workspace: Workspace) -> None:
    """Everything that a route raises becomes a problem."""

    @app.exception_handler(Refused)
    async def ended(request: Request, error: Refused) -> Response:
        return respond(error.problem)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:])) or "body"
        return respond(Problem(400, first["msg"].removeprefix("Value error, "), where[:200]))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        answer = respond(Problem(error.status_code, str(error.detail)))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(MwalimuError)
    async def known(request: Request, error: MwalimuError) -> Response:
        return respond(problem_of(error, workspace))

    @app.exception_handler(OSError)
    async def machine(request: Request, error: OSError) -> Response:
        refused = machine_error(error)
        return await unknown(request, error) if refused is None else await known(request, refused)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> Response:
        _LOG.error("a request failed", exc_info=error)
        return respond(Problem(500, "the service failed on this request"))
