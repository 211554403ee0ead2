"""How one server serves; the same for all its requests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`model` is the name that clients ask for; `max_tokens` bounds every answer.

    `timeout` is the seconds a request may take, waiting included; `max_body` is in bytes.
    `keys` are SHA-256 digests of the accepted keys: without any, no key is asked for. With
    `loopback_only`, requests must name this machine in their Host and Origin headers.
    """

    model: str
    max_tokens: int = 1024
    timeout: float = 120.0
    max_body: int = 1 << 20
    keys: frozenset[bytes] = frozenset()
    loopback_only: bool = True
    body_timeout: float = 10.0
    send_timeout: float = 30.0
