"""Where a webhook may go. The address that was checked is the one that is called.

A name may lead to one address when it is checked and to another when it is called (DNS rebinding);
so it is resolved once, every address of the answer has to be public, and the connection is to one
of these, while TLS still asks for the name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from mwalimu.errors import ConfigError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
"""(host, port) -> addresses, as text. Raises OSError."""

# No user, no escape in the host, no backslash: two readers of such a URL may see two hosts.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[!$&-;=@-\[\]_a-z~%]*(?:\?[!$&-;=?-\[\]_a-z~%]*)?)?"
)
_PORTS = {"https": 443, "http": 80}
_LOWEST_OTHER_PORT = 1024  # those below belong to services that speak something else
_LONGEST = 2000  # characters

# What `ipaddress` takes for public: Azure's host agent, and the range of Oracle's metadata.
_CLOUD = (ipaddress.IPv4Network("168.63.129.16/32"), ipaddress.IPv4Network("192.0.0.0/24"))
_NAT64 = (
    ipaddress.IPv6Network("64:ff9b::/96"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),
    ipaddress.IPv6Network("::/96"),
)


class BadTarget(ConfigError):
    """An address that nothing is sent to."""


@dataclass(frozen=True, slots=True)
class Target:
    """`path` includes the query, which may hold a secret: it is for the receiver alone."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def place(self) -> str:
        """What may be told of it: no path, no query."""
        return f"{self.scheme}://{self.host}:{self.port}"


def parsed(url: str, allowed: Collection[str] = ()) -> Target:
    """`allowed`: hosts, as `host` or `host:port`, that may be called without TLS too.

    Raises:
        BadTarget: it is no plain address, without TLS, or its port is another service's.
    """
    found = _URL.fullmatch(url) if len(url) <= _LONGEST else None
    if found is None:
        raise BadTarget("is no plain https address", where="webhook", fix="as https://host/path")
    host = found["host"].lower().strip("[]")
    port = int(found["port"] or _PORTS[found["scheme"]])
    target = Target(found["scheme"], host, port, found["path"] or "/")
    if not 0 < port < 1 << 16:
        raise BadTarget("has a port that is none", where=f"webhook {target.place}")
    if is_allowed(target, allowed):
        return target
    if target.scheme != "https":
        raise BadTarget("is not https", where=f"webhook {target.place}", fix="use https")
    if port != _PORTS["https"] and port < _LOWEST_OTHER_PORT:
        raise BadTarget("has another service's port", where=f"webhook {target.place}")
    return target


def is_allowed(target: Target, allowed: Collection[str]) -> bool:
    names = {name.lower() for name in allowed}
    return target.host in names or f"{target.host}:{target.port}" in names


def pinned(target: Target, resolve: Resolve, allowed: Collection[str] = ()) -> Address:
    """The address to connect to.

    Raises:
        BadTarget: one of its addresses is no public one, and its host is not `allowed`.
        OSError: it cannot be resolved.
    """
    addresses = _read(resolve(target.host, target.port))
    if not addresses:
        raise OSError(f"{target.host} has no address")
    if not is_allowed(target, allowed):
        for address in addresses:
            if not is_public(address):
                raise BadTarget("leads to an address that is not public", where=target.place)
    return addresses[0]


def is_public(address: Address) -> bool:
    """Whether it is on the internet, and so is whatever it leads to by way of a gateway."""
    if address.is_multicast or not address.is_global or any(address in net for net in _CLOUD):
        return False
    inner = _inner(address)
    return inner is None or is_public(inner)


def may_be_public(host: str) -> bool:
    """Of a name only its addresses can tell."""
    try:
        return is_public(ipaddress.ip_address(host))
    except ValueError:
        return True


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that stands in an IPv6 one."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo


def _read(addresses: Iterable[str]) -> list[Address]:
    return [ipaddress.ip_address(text) for text in addresses]
