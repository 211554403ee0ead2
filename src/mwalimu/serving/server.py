"""The process around the endpoint, with a graceful end.

The first SIGTERM or Ctrl-C drains: what was taken is answered, new requests get 503. The second
one ends at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from mwalimu.errors import MwalimuError, StudentError
from mwalimu.serving.listening import ListeningServer
from mwalimu.serving.scheduler import Engine

SPARE_CONNECTIONS = 64  # beside those whose request waits or runs
GRACE = 10  # seconds


class Server(ListeningServer):
    """Ends when the engine has: drained, or failed to load."""

    def __init__(self, app: Any, engine: Engine, *, host: str, port: int, queue: int) -> None:
        self.engine = engine
        connections = queue + SPARE_CONNECTIONS
        super().__init__(app, host=host, port=port, connections=connections, grace=GRACE)

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self.engine.state in ("loading", "serving"):
            # Not here: a signal may come while this very thread holds the engine's lock.
            threading.Thread(target=self.engine.drain, daemon=True).start()
        else:
            self.force_exit = self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        if self.engine.state == "stopped":
            self.should_exit = True
        return await super().on_tick(counter)

    def serve_until_drained(self, *, on_started: Callable[[], None]) -> None:
        """Raises what the engine failed with; ConfigError where the address cannot be had."""
        self.engine.start()
        self.listen(on_started)
        failure = self.engine.failure
        if isinstance(failure, MwalimuError):
            raise failure
        if failure is not None:
            raise StudentError(f"cannot be loaded ({failure})") from failure
