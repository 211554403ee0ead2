"""A stage as those who watch see it: when it begins, how it ends, and a span around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from mwalimu.run import Run, launched
from mwalimu.telemetry import context, logs, tracing
from mwalimu.telemetry.setting_up import is_on

P = ParamSpec("P")
T = TypeVar("T")


def stage(name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """For a method of something with a `run`: what is said and asked in it is of this stage."""

    def around(method: Callable[P, T]) -> Callable[P, T]:
        @wraps(method)
        def observed(*given: P.args, **named: P.kwargs) -> T:
            if not is_on():
                return method(*given, **named)
            run: Run = given[0].run  # type: ignore[attr-defined]
            with watched(run, stage=name):
                return method(*given, **named)

        return observed

    return around


@contextmanager
def watched(run: Run, **stage: str) -> Iterator[None]:
    """Without a stage: all that the run does. Of several processes the first one names the run."""
    known = run.manifest.get("id") if launched()[0] else run.id
    what = " ".join(stage.values()) or "run"
    attributes: dict[str, Any] = {"mwalimu.run": known} | {
        f"mwalimu.{kind}": name for kind, name in stage.items()
    }
    began = time.perf_counter()

    def ended(status: str, level: int = logs.INFO, error: str | None = None) -> None:
        seconds = round(time.perf_counter() - began, 3)
        logs.say(f"{kind} ended", level, status=status, latency_s=seconds, error=error)

    kind = next(iter(stage), "run")
    with context.bound(run=known, **stage), tracing.span(what, attributes):
        logs.say(f"{kind} begins")
        try:
            yield
        except Exception as error:
            ended("failed", logs.ERROR, type(error).__name__)
            raise
        except BaseException as error:
            ended("stopped", logs.WARNING, type(error).__name__)
            raise
        ended("done")
