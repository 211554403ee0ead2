"""An HTTP answer that is no chat answer -> the right exception, the same for every provider."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import orjson
from yarl import URL

from mwalimu.errors import TeacherError, TeacherRefusesKey, UnknownTeacherModel
from mwalimu.teachers.base import RateLimits, RowError, TransientError
from mwalimu.teachers.http import HttpReply
from mwalimu.teachers.limits import server_time

SHOWN = 200  # characters of a server's own message
RETRY_AFTER_CAP_S = 3600.0
TRANSIENT = {408, 409, 425, 429}
OVERLOADED = {503, 529}
UNKNOWN_END = {408, 502, 504, 520, 524}  # a gateway stopped waiting; the model may have gone on
NO_CREDIT = {
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "billing_error",
    "enforced_spend_limit_reached",
    "contract_spend_limit_reached",
}
FILTERED = {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"}


@dataclass(frozen=True, slots=True)
class Place:
    """Whom the answer came from, for the messages; `secrets` are what must not be in them."""

    url: str
    model: str
    key_env: str | None
    model_setting: str = "teacher.model"
    secrets: tuple[str, ...] = field(default=(), repr=False)


class ServerError(NamedTuple):
    """What a server's error body says: its words, and every code and type in it."""

    message: str
    codes: frozenset[str]

    @property
    def filtered(self) -> bool:
        return not FILTERED.isdisjoint(self.codes)

    @property
    def out_of_credit(self) -> bool:
        # Anthropic's has no code of its own.
        return not NO_CREDIT.isdisjoint(self.codes) or self.message.startswith(
            ("Your credit balance is too low", "Insufficient Balance")
        )


def judge(reply: HttpReply, place: Place, limits: RateLimits | None = None) -> None:
    """Raises what a reply that is no chat answer means.

    Returns only when its body is an outcome to be stored: a content filter's refusal.
    """
    status = reply.status
    error = read_error(reply.body)
    if 200 <= status < 300:
        raise TransientError(
            "an error in place of an answer" if error.codes else _no_answer(status),
            ambiguous=True,
            rate_limited=not {"429", "rate_limit_error"}.isdisjoint(error.codes),
            overloaded=not {"503", "529", "overloaded_error"}.isdisjoint(error.codes),
            limits=limits,
        )
    if 300 <= status < 400:
        raise _redirect(status, reply.headers, place)
    if status == 402 or (status < 500 and error.out_of_credit):
        raise TeacherError(
            f"answered HTTP {status}: no credit is left at the provider",
            where=place.url,
            fix="pay or raise the limit there, then run the same command again; nothing is lost",
        )
    if status == 400 and error.filtered:
        return
    if status in TRANSIENT or status >= 500:
        raise _transient(status, reply.headers, error, limits)
    raise _refusal(status, error, place)


def _no_answer(status: int) -> str:
    return f"{status} with something that is no chat answer"


def _transient(
    status: int, headers: Mapping[str, str], error: ServerError, limits: RateLimits | None
) -> TransientError:
    return TransientError(
        f"HTTP {status}",
        retry_after_s=retry_after_s(headers),
        ambiguous=status in UNKNOWN_END,
        rate_limited=status == 429,
        overloaded=status in OVERLOADED or "overloaded_error" in error.codes,
        limits=limits,
    )


def _refusal(status: int, error: ServerError, place: Place) -> TeacherError | RowError:
    message = clean(error.message, place.secrets)
    if status in (401, 403):
        return _refuses_key(status, message, place)
    if status == 404:
        return UnknownTeacherModel(
            f"answered HTTP 404 for {place.model!r}{': ' if message else ''}{message}",
            where=place.url,
            fix=f"mend {place.model_setting} or teacher.base_url",
        )
    if status in (400, 413, 422):
        return RowError(f"HTTP {status}: {message}" if message else f"HTTP {status}")
    return TeacherError(f"answered HTTP {status}", where=place.url, fix=message)


def _refuses_key(status: int, message: str, place: Place) -> TeacherRefusesKey:
    name = place.key_env
    if name is None:
        return TeacherRefusesKey(
            f"answered HTTP {status}, and no key was sent",
            where=place.url,
            fix="export the key and name its variable in teacher.api_key_env",
        )
    # A 401's own words tend to quote a piece of the key; a 403's say what is not allowed.
    said = f" ({message})" if status == 403 and message else ""
    return TeacherRefusesKey(
        f"answered HTTP {status}: the key in ${name} was refused{said}",
        where=place.url,
        fix=f"export {name}=..., or name another variable in teacher.api_key_env",
    )


def _redirect(status: int, headers: Mapping[str, str], place: Place) -> TeacherError:
    target = clean(public_url(headers.get("Location", "")), place.secrets)
    return TeacherError(
        f"redirects (HTTP {status}) to {target or 'nowhere'}; no key follows a redirect",
        where=place.url,
        fix="set teacher.base_url to where the server really is",
    )


def public_url(url: str | URL) -> str:
    """Without what may be a secret: user, password, query, fragment."""
    try:
        return str(URL(url).with_user(None).with_query(None).with_fragment(None))
    except ValueError:  # relative
        return str(url).partition("?")[0].partition("#")[0].rpartition("@")[2]


def clean(text: str, secrets: tuple[str, ...] = ()) -> str:
    """A server's words for a message: no key, one printable line, short. In that order."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[key]")
    printable = "".join(c if c.isprintable() else " " for c in text[: 4 * SHOWN])
    return " ".join(printable.split())[:SHOWN]


def read_error(raw: bytes) -> ServerError:
    """Every shape that servers use: OpenAI's, Azure's, Anthropic's, vLLM's, FastAPI's."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return ServerError("", frozenset())
    if isinstance(body, list) and body:  # Google's
        body = body[0]
    if not isinstance(body, dict):
        return ServerError("", frozenset())
    error = body.get("error")
    if isinstance(error, dict):
        return ServerError(_message(error), _codes(error))
    if isinstance(error, str):
        return ServerError(error, _codes(body) | {"error"})
    if "choices" in body or "content" in body:
        return ServerError("", frozenset())
    return ServerError(_message(body), _codes(body))


def _message(error: Mapping[str, Any]) -> str:
    said = error.get("message") or error.get("detail") or ""
    return said if isinstance(said, str) else orjson.dumps(said).decode()


def _codes(error: Mapping[str, Any]) -> frozenset[str]:
    codes = [error.get("code"), error.get("type")]
    for key in ("innererror", "details"):
        if isinstance(inner := error.get(key), dict):
            codes += [inner.get("code"), inner.get("error_code")]
    return frozenset(str(code) for code in codes if code is not None)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, fractions, milliseconds, or a date; never negative, an hour at most."""
    if (milliseconds := _finite(headers.get("retry-after-ms"))) is not None:
        return _capped(milliseconds / 1000)
    stated = headers.get("Retry-After")
    if (seconds := _finite(stated)) is not None:
        return _capped(seconds)
    if stated is None or re.fullmatch(r"\s*[+-]?[\w.]*\s*", stated):
        return None  # nan, inf, a word: no date has so little
    try:
        when = parsedate_to_datetime(stated)
    except (ValueError, TypeError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return _capped(when.timestamp() - server_time(headers))


def _capped(seconds: float) -> float:
    return min(max(0.0, seconds), RETRY_AFTER_CAP_S)


def _finite(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
