"""Where the service listens, and by what names it is called."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_address

from mwalimu.errors import ConfigError
from mwalimu.jobs.settings import ServiceSettings
from mwalimu.jobs.workers.slots import default_slots


def public_url(settings: ServiceSettings) -> str:
    """For people and other machines; where it listens everywhere, by a name that it answers to."""
    name = settings.allowed_hosts[0] if _is_everywhere(settings.host) else settings.host
    return _url(settings, name)


def local_url(settings: ServiceSettings) -> str:
    """For programs of this machine, which know its certificate by itself, not by its name."""
    if not _is_everywhere(settings.host):
        return public_url(settings)
    return _url(settings, "::1" if ":" in settings.host else "127.0.0.1")


def _url(settings: ServiceSettings, name: str) -> str:
    shown = f"[{name}]" if ":" in name else name
    return f"{'https' if settings.tls_key else 'http'}://{shown}:{settings.port}"


def _is_everywhere(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_unspecified
    return False


def resolved(settings: ServiceSettings) -> ServiceSettings:
    """With the GPUs that are there, where no slots are named, a free port for port 0, and the name
    of the machine or of what it listens on among those that it answers to."""
    own = socket.gethostname() if _is_everywhere(settings.host) else settings.host
    found: dict[str, object] = {
        "workspace": settings.workspace.absolute(),
        "allowed_hosts": (*settings.allowed_hosts, own.lower()),
    }
    if "slots" not in settings.model_fields_set:
        found["slots"] = default_slots()
    if settings.port == 0:
        found["port"] = _free_port(settings.host)
    return settings.model_copy(update=found)


def _free_port(host: str) -> int:
    try:
        address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(address[0], socket.SOCK_STREAM) as probe:
            probe.bind(address[4])
            return int(probe.getsockname()[1])
    except OSError as error:
        raise ConfigError(f"cannot listen there ({error})", where=host) from None
