"""Names of this machine, and what a Host or Origin header says, for all servers of ours."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""How a browser names this machine."""

# A port is a number: `127.0.0.1:1.evil` is no name of this machine, though urlsplit says so.
_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")


def is_loopback(host: str) -> bool:
    """Whether a server that listens there is asked by this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def named_host(header: str) -> str | None:
    """The name in a Host header, in lower case, without the port; None for what is none."""
    found = _HOST.fullmatch(header)
    return found["name"].strip("[]").lower() if found else None


def place_of(origin: str) -> str | None:
    """`host:port` of an Origin header, in lower case; None for what is no web page's."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None
