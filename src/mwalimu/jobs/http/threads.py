"""Long work has threads of its own, so that it never keeps a short answer waiting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Request

AT_ONCE = 8  # checks of uploads, estimates and questions; more wait without a thread
T = TypeVar("T")


def places() -> CapacityLimiter:
    """Of one application; to be made on its event loop."""
    return CapacityLimiter(AT_ONCE)


async def at_length(request: Request, work: Callable[..., T], *given: Any, **named: Any) -> T:
    """`work` in one of those threads."""
    return await to_thread.run_sync(
        partial(work, *given, **named), limiter=request.app.state.places
    )
