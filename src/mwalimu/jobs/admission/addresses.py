"""Addresses that the server's owner allows. Nothing is resolved: what is not listed is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from mwalimu.jobs.webhooks.target import may_be_public

# No user, query, escape or backslash: two readers of such a URL may see two hosts.
_PLAIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)/?"
)
_PORTS = {"http": "80", "https": "443"}


def is_within(url: str, allowed: Iterable[str]) -> bool:
    """Whether `url` is one of `allowed` or below it: its scheme, host, port, and whole segments."""
    given = _parts(url)
    return given is not None and any(_holds(_parts(place), given) for place in allowed)


def is_inner(url: str) -> bool:
    """Whether it says itself that it leads to this machine or its network; a name may still."""
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.endswith(".localhost") or not may_be_public(host)


def _parts(url: str) -> tuple[tuple[str, str, str], tuple[str, ...]] | None:
    found = _PLAIN.fullmatch(url)
    if found is None:
        return None
    scheme = found["scheme"]
    port = str(int(found["port"] or _PORTS[scheme]))
    return (scheme, found["host"].lower(), port), tuple(found["path"].split("/")[1:])


def _holds(
    place: tuple[tuple[str, str, str], tuple[str, ...]] | None,
    given: tuple[tuple[str, str, str], tuple[str, ...]],
) -> bool:
    return place is not None and place[0] == given[0] and given[1][: len(place[1])] == place[1]
