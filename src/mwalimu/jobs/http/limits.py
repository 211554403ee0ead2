"""What one request may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds; a timeout is of one piece of a body."""

    max_body: int = 1 << 20
    max_upload: int = 1 << 30
    max_line: int = 4 << 20
    body_timeout: float = 10.0
    send_timeout: float = 30.0


LIMITS = Limits()
