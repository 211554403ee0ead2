"""What both clients do alike: where the service is, what is sent, when it is sent again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2

from mwalimu.errors import ConfigError, MwalimuError
from mwalimu.jobs.client.pinning import trusted
from mwalimu.jobs.client.problems import ServiceUnreachable, problem
from mwalimu.jobs.client.requests import Call
from mwalimu.jobs.client.streams import Place, T_co
from mwalimu.serving.addresses import is_loopback
from mwalimu.telemetry import tracing

T = TypeVar("T")

PATIENCE_S = 30.0  # so long is sent again: a server that restarts is back by then
TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
STREAM_TIMEOUT = httpx2.Timeout(60.0, connect=10.0, read=45.0)  # a stream has a sign every 15 s
AGAIN_S = 0.3  # until a stream that a server ended is asked for again
_LONGEST = 3.0  # seconds between two attempts
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What reading an answer that is none of ours may raise."""
_TAKEN, _BUSY = 409, 503


def settings(url: str, token: str, certificate: str | None = None) -> dict[str, Any]:
    """Of an httpx2 client. Raises ConfigError for an address that the token must not go to."""
    return {
        "verify": trusted(url, certificate),
        "base_url": checked(url),
        # As it is: a stream is asked from a byte of the log on, not of its compressed form.
        "headers": {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"},
        "timeout": TIMEOUT,
        "follow_redirects": False,
        "trust_env": not _loopback(url),  # a proxy has no business between us and ourselves
    }


def checked(url: str) -> str:
    """Without a trailing slash; anybody on the way could read a token that goes without TLS."""
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise ConfigError("is no address of a service", where=repr(url), fix="as https://host:8600")
    if place.username or place.password:
        raise ConfigError(
            "holds a password", where="the service's address", fix="use MWALIMU_TOKEN"
        )
    if place.scheme == "http" and not _loopback(url):
        raise ConfigError(
            "would send the token unprotected", where=url, fix="use https, or a tunnel to loopback"
        )
    return url.rstrip("/")


def pauses() -> Iterator[float]:
    """Seconds before each further attempt, longer and longer, not in step with other clients."""
    left, pause = PATIENCE_S, 0.1
    while left > 0:
        drawn = min(pause * random.uniform(0.5, 1.0), left)
        yield drawn
        left, pause = left - drawn, min(2 * pause, _LONGEST)


def sent_again(call: Call[Any], error: httpx2.TransportError) -> bool:
    """Whether nothing can happen twice: it is safe, or it never left."""
    return call.safe or isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)


def busy(call: Call[Any], response: httpx2.Response) -> bool:
    return response.status_code == _BUSY and call.safe


def arrived(call: Call[T], response: httpx2.Response, attempt: int) -> Call[T] | None:
    """What tells of a job that an attempt before this one has made."""
    return call.arrived if attempt and response.status_code == _TAKEN else None


def understood(call: Call[T], response: httpx2.Response) -> T:
    """Raises the error that the answer tells of."""
    refuse(response, f"{call.method} {call.path}")
    try:
        return call.read(response.content)
    except UNREADABLE as error:
        raise unreadable(f"{call.method} {call.path}", error) from None


def taken(place: Place[T_co], piece: bytes) -> Sequence[T_co]:
    """What a piece of a stream tells."""
    try:
        return place.taken(piece)
    except UNREADABLE as error:
        raise unreadable(f"GET {place.path}", error) from None


def unreadable(where: str, error: Exception) -> MwalimuError:
    return ServiceUnreachable(
        f"its answer cannot be read ({type(error).__name__})",
        where=where,
        fix="is it a service of mwalimu, and of this version?",
    )


def refuse(response: httpx2.Response, where: str) -> None:
    """Of a response that was read."""
    if not response.is_success:
        raise problem(response.status_code, response.content, where=where)


def unreachable(base: str, error: httpx2.TransportError) -> MwalimuError:
    return ServiceUnreachable(
        f"does not answer ({type(error).__name__})",
        where=base,
        fix="is it running? 'mwalimu server' starts one",
    )


def asked(call: Call[Any], content: Any) -> dict[str, Any]:
    """The arguments of an httpx2 request; `content` is the file's, opened."""
    return {
        "method": call.method,
        "url": call.path,
        "params": {key: value for key, value in call.query.items() if value is not None},
        "headers": tracing.headers(),
        **({"json": call.body} if call.body is not None else {}),
        **({"content": content} if content is not None else {}),
    }


def _loopback(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")
