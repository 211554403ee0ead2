"""The job service: distillations are submitted, queued, watched, stopped, taken up again."""

from __future__ import annotations

from typing import Any

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mwalimu.jobs import client

    return getattr(client, name)
