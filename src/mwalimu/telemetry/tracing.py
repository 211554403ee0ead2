"""OpenTelemetry spans, where OTEL_EXPORTER_OTLP_ENDPOINT says where they go; nothing elsewhere.

What the SDK's own variables say (sampling, batching, headers, a service name) holds.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mwalimu.errors import MissingDependency
from mwalimu.telemetry import context, logs
from mwalimu.telemetry.redaction import hide, redact, redacted

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
LAST_S = 5.0
"""Seconds that the last spans may take on their way when the process ends."""

Kind = Literal["internal", "client", "server"]
Attributes = Mapping[str, Any]


class Span(Protocol):
    def set(self, **attributes: Any) -> None:
        """A double underscore in a name is a dot; None is left out."""

    def failed(self, kind: str) -> None:
        """It ended badly; `kind` is a word for how."""


class _NoSpan:
    def set(self, **attributes: Any) -> None: ...

    def failed(self, kind: str) -> None: ...


NO_SPAN: Span = _NoSpan()
_provider: TracerProvider | None = None
_exporter: Any = None
_tracer: Any = None


def is_wanted() -> bool:
    asked = any(os.environ.get(name) for name in ENDPOINTS)
    return asked and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


def is_on() -> bool:
    return _tracer is not None


def begin() -> None:
    """Raises MissingDependency where the extra is not installed."""
    global _provider, _exporter, _tracer
    if _tracer is not None:
        return
    try:
        _exporter = importlib.import_module(EXPORTER).OTLPSpanExporter(timeout=LAST_S)
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingDependency(
            f"{error.name} is not installed",
            where=next(name for name in ENDPOINTS if os.environ.get(name)),
            fix="pip install 'mwalimu[otel]', or unset it",
        ) from None
    from mwalimu import __version__

    for name in HEADERS:  # they are how a collector knows us
        pairs = (pair.partition("=") for pair in os.environ.get(name, "").split(","))
        hide(*(value.strip() for _, _, value in pairs))
    names = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "mwalimu")}
    resource = Resource.create({**names, "service.version": __version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter))
    told = logging.getLogger("opentelemetry")
    told.propagate, told.handlers = False, [_OnceOnStderr()]
    _provider, _tracer = provider, provider.get_tracer("mwalimu", __version__)


def end() -> None:
    """What the collector does not take in time is given up."""
    global _provider, _tracer
    if _provider is None:
        return
    flushing = threading.Thread(target=_provider.force_flush, daemon=True)
    flushing.start()
    flushing.join(LAST_S)
    logging.getLogger("opentelemetry").handlers = [logging.NullHandler()]
    _exporter.shutdown()  # before the provider, which would try once more
    _provider.shutdown()
    _provider = _tracer = None


@contextmanager
def span(
    name: str,
    attributes: Attributes | None = None,
    *,
    kind: Kind = "internal",
    parent: Mapping[str, str] | None = None,
) -> Iterator[Span]:
    """Around what happens inside; an exception that leaves it fails it.

    `parent` are the headers of a request that may name one.
    """
    if _tracer is None:
        yield NO_SPAN
        return
    from opentelemetry import trace

    started = _tracer.start_span(
        name, _extracted(parent), getattr(trace.SpanKind, kind.upper()), _clean(attributes or {})
    )
    own = _Span(started)
    at = started.get_span_context()
    ids = {"trace": f"{at.trace_id:032x}", "span": f"{at.span_id:016x}"}
    with context.bound(**ids), trace.use_span(started, False, False, False):
        try:
            yield own
        except BaseException as error:
            own.failed(type(error).__name__)
            raise
        finally:
            started.end()


def past(name: str, began_ns: int, attributes: Attributes) -> None:
    """A span that is over now and began at `began_ns`, since 1970."""
    if _tracer is not None:
        _tracer.start_span(name, start_time=began_ns, attributes=_clean(attributes)).end()


def headers() -> dict[str, str]:
    """W3C's traceparent and tracestate of what is being done, for a request to somebody else."""
    carrier: dict[str, str] = {}
    if _tracer is not None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(carrier)
    return carrier


class _OnceOnStderr(logging.Handler):
    """The SDK says again and again that a collector is away: the log has it all."""

    said = False

    def emit(self, record: logging.LogRecord) -> None:
        logs.forward(record)
        if not self.said:
            self.said = True
            print(f"traces do not arrive: {redact(record.getMessage())}", file=sys.stderr)


def _extracted(parent: Mapping[str, str] | None) -> Any:
    if parent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(parent)


class _Span:
    """The first word for how it failed holds."""

    def __init__(self, started: Any) -> None:
        self._started = started
        self._has_failed = False

    def set(self, **attributes: Any) -> None:
        named = {name.replace("__", "."): value for name, value in attributes.items()}
        self._started.set_attributes(_clean(named))

    def failed(self, kind: str) -> None:
        from opentelemetry.trace import StatusCode

        if self._has_failed:
            return
        self._has_failed = True
        self._started.set_status(StatusCode.ERROR, redact(kind))
        self._started.set_attribute("error.type", redact(kind))


def _clean(attributes: Attributes) -> dict[str, Any]:
    return {name: redacted(value) for name, value in attributes.items() if value is not None}
