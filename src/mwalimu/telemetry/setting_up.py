"""Turns on what was asked for, by the command line or by the environment, and off at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOG, LEVEL, TEXT = "MWALIMU_LOG", "MWALIMU_LOG_LEVEL", "MWALIMU_LOG_TEXT"
FILE, PORT = "MWALIMU_METRICS", "MWALIMU_METRICS_PORT"


_begun = False


def is_on() -> bool:
    """Whether anybody watches: what is off costs nothing but this question."""
    return _begun


def begin(*, metrics_file: Path | None = None, metrics_port: int | None = None) -> None:
    """Logs and traces as the environment says, which processes that are started inherit; metrics
    are this process's own.

    Raises:
        ConfigError: a file or a port cannot be had.
        MissingDependency: an extra is not installed.
    """
    global _begun
    from mwalimu.telemetry import logs

    logs.warn_on_stderr()
    if path := os.environ.get(LOG):
        from mwalimu.telemetry import redaction

        redaction.hide_environment()
        os.environ[LOG] = str(Path(path).absolute())  # a child may work in another folder
        text = os.environ.get(TEXT, "").lower() in ("1", "true", "yes")
        logs.begin(Path(os.environ[LOG]), os.environ.get(LEVEL) or "INFO", text=text)
        _begun = True
    if metrics_file is not None or metrics_port is not None:
        from mwalimu.telemetry import metrics

        metrics.begin(file=metrics_file, port=metrics_port)
        _begun = True
    from mwalimu.telemetry import tracing

    if tracing.is_wanted():
        from mwalimu.telemetry import redaction

        redaction.hide_environment()
        tracing.begin()
        _begun = True


@contextmanager
def child(**fields: object) -> Iterator[None]:
    """In a process that a command started; `fields` are on every line of it.

    What cannot be had now is gone without: the command that started it has told its user.
    """
    from mwalimu.errors import MwalimuError
    from mwalimu.telemetry import context

    context.bind_process(**fields)
    with suppress(MwalimuError):
        begin()
    try:
        yield
    finally:
        end()


def say_end(code: object) -> None:
    """The last line of a command. The error's own words are on stderr: they may be a server's, or
    hold a row's."""
    if not _begun:
        return
    from mwalimu.errors import BUG
    from mwalimu.telemetry import logs

    number = code if isinstance(code, int) else 0 if code is None else 1
    error = sys.exc_info()[1]
    cause = error.__context__ if error is not None and number else None
    logs.say(
        "ended",
        logs.ERROR if number else logs.INFO,
        exit_code=number,
        error=None if cause is None else type(cause).__name__,
        answer=None if cause is None else str(cause),
        bug=cause if number == BUG else None,
    )


def end() -> None:
    """The last values and spans; more than a few seconds nobody is kept waiting."""
    global _begun
    if not _begun:
        return
    from mwalimu.telemetry import logs, metrics, tracing

    _begun = False
    metrics.end()
    tracing.end()
    logs.end()
