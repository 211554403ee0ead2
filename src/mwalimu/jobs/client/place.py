"""Where a service is, and with what token."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Place:
    """`certificate` as PEM is the only one trusted; None for those that the machine trusts."""

    url: str
    token: str = field(repr=False)
    certificate: str | None = field(default=None, repr=False)
