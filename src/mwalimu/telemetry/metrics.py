"""One registry a process for Prometheus: served on loopback, or written to a file.

Rooms keep their own counts anyway; what they hand in here is read when somebody asks. Only what no
room counts (how long things take) is observed as it happens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mwalimu.errors import ConfigError, MissingDependency

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

EVERY_S = 15.0
"""Between two writings of the file; what scrapes it does so every 15 s or less often."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
NAMES = ("127.0.0.1", "localhost", "[::1]")

T = TypeVar("T")

_registry: CollectorRegistry | None = None
_collectors: dict[Any, Any] = {}
_closing: list[Callable[[], None]] = []


def is_on() -> bool:
    return _registry is not None


def collector(kind: Callable[[CollectorRegistry], T]) -> T | None:
    """The one of its kind in this process, which registers itself when it is made; None where no
    metrics were asked for."""
    if _registry is None:
        return None
    if kind not in _collectors:
        _collectors[kind] = kind(_registry)
    found: T = _collectors[kind]
    return found


def include(more: CollectorRegistry) -> None:
    """What a server tells at its own /metrics is told here too, where metrics were asked for."""
    if _registry is not None:
        _registry.register(more)


def begin(*, file: Path | None = None, port: int | None = None) -> None:
    """Raises ConfigError where file or port cannot be had, MissingDependency."""
    global _registry
    try:
        from prometheus_client import CollectorRegistry
    except ImportError:
        raise MissingDependency(
            "prometheus-client is not installed",
            where="--metrics",
            fix="pip install 'mwalimu[metrics]', or leave it out",
        ) from None
    end()
    _registry = CollectorRegistry()
    if port is not None:
        _closing.append(_served(_registry, port))
    if file is not None:
        _closing.append(_written(_registry, file))


def end() -> None:
    """With the last values in the file."""
    global _registry
    while _closing:
        _closing.pop()()
    _collectors.clear()
    _registry = None


def _served(registry: CollectorRegistry, port: int) -> Callable[[], None]:
    """On loopback, for this machine's names only: a page of a hostile site can make its own name
    point here."""
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    from prometheus_client import make_wsgi_app

    class Silent(WSGIRequestHandler):
        def log_message(self, *_: object) -> None: ...

    inner: Any = make_wsgi_app(registry)

    def app(environ: Any, start: Any) -> Any:
        host = environ.get("HTTP_HOST", "").rpartition(":")
        if (host[0] or host[2]).lower() not in NAMES or environ.get("HTTP_ORIGIN"):
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"this is for programs of this machine\n"]
        return inner(environ, start)

    try:
        server = make_server("127.0.0.1", port, app, handler_class=Silent)
    except (OSError, OverflowError) as error:
        why = (getattr(error, "strerror", None) or "no port").lower()
        raise ConfigError(
            f"cannot listen on port {port} ({why})", where="--metrics-port", fix="name another"
        ) from None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()

    def close() -> None:
        server.shutdown()
        server.server_close()

    return close


def _written(registry: CollectorRegistry, file: Path) -> Callable[[], None]:
    """Every now and then, whole or not at all. A full disk keeps what was there."""
    from prometheus_client import write_to_textfile

    try:
        write_to_textfile(str(file), registry)
    except OSError as error:
        why = (error.strerror or "no file").lower()
        fix = "name a file in a folder that is there"
        raise ConfigError(f"cannot be written ({why})", where=str(file), fix=fix) from None
    done = threading.Event()

    def write() -> None:
        try:
            write_to_textfile(str(file), registry)
        except OSError:
            return

    def live() -> None:
        while not done.wait(EVERY_S):
            write()

    thread = threading.Thread(target=live, name="metrics", daemon=True)
    thread.start()

    def close() -> None:
        done.set()
        thread.join()
        write()

    return close
