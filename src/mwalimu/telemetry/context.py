"""What is being done, by whom: fields that every log line and span from here on carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_NOTHING: Mapping[str, Any] = {}
_BOUND: ContextVar[Mapping[str, Any]] = ContextVar("mwalimu_telemetry", default=_NOTHING)
_PROCESS: dict[str, Any] = {}


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Inside, in this thread or task and in the tasks that it starts."""
    token = _BOUND.set({**_BOUND.get(), **fields})
    try:
        yield
    finally:
        _BOUND.reset(token)


def bind(**fields: Any) -> None:
    """For the rest of this task."""
    _BOUND.set({**_BOUND.get(), **fields})


def bind_process(**fields: Any) -> None:
    """For all threads, until this process ends: a worker's job."""
    _PROCESS.update(fields)


def fields() -> dict[str, Any]:
    return {**_PROCESS, **_BOUND.get()}


def field(name: str) -> Any:
    """None where nobody has bound it."""
    return _BOUND.get().get(name, _PROCESS.get(name))
