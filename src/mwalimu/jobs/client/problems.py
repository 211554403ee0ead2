"""What the service refuses, and that it is not there, as our errors.

RunError                8
├── NotAllowed          8   401, 403: no token, a bad one, or one without the role
├── NotFound            8   404
├── WrongState          8   409: the state, or a name that is taken
├── QuotaReached        8   429
├── ServiceUnreachable  8   no answer, after all attempts
├── WaitedTooLong       8   the job goes on; only the waiting has ended
└── StoppedWaiting    130   the same, by Ctrl-C
"""

from __future__ import annotations

import json
from typing import Any

from mwalimu import errors
from mwalimu.errors import ConfigError, MwalimuError, RunError
from mwalimu.jobs.refusals import NotFound, QuotaReached, WrongState


class NotAllowed(RunError):
    pass


class ServiceUnreachable(RunError):
    pass


class WaitedTooLong(RunError):
    pass


class StoppedWaiting(RunError):
    exit_code = 130


_BY_STATUS: dict[int, type[MwalimuError]] = {
    401: NotAllowed,
    403: NotAllowed,
    400: ConfigError,
    404: NotFound,
    409: WrongState,
    413: ConfigError,
    429: QuotaReached,
}
_BY_EXIT_CODE: dict[int, type[MwalimuError]] = {
    kind.exit_code: kind
    for kind in reversed(list(vars(errors).values()))
    if isinstance(kind, type) and issubclass(kind, MwalimuError)
}


def problem(status: int, body: bytes, *, where: str) -> MwalimuError:
    """The error that a response tells of; `where` is the request, for one that tells nothing."""
    told = _told(body)
    return _BY_STATUS.get(status, RunError)(
        _line(told.get("what")) or f"the service answered {status}",
        where=_line(told.get("where")) or where,
        fix=_line(told.get("fix")),
    )


def of_job(error: dict[str, Any] | None, job: str) -> MwalimuError:
    """Why a job has failed, with the exit code that its own command would have ended with."""
    told = error or {}
    code = told.get("exit_code", 1)
    failure = _BY_EXIT_CODE.get(code, MwalimuError)(
        _line(told.get("what")) or "has failed",
        where=": ".join(filter(None, (job, _line(told.get("where"))))),
        fix=_line(told.get("fix")) or f"look at it with 'mwalimu jobs logs {job}'",
    )
    failure.exit_code = code
    return failure


def _told(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return told if isinstance(told, dict) else {}


def _line(text: Any) -> str:
    """One line of it, whoever wrote it."""
    return " ".join(str(text).split()) if text else ""
