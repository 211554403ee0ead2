"""The process around an application of ours: a socket, bounds on slow clients, when it listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn

from mwalimu.errors import ConfigError
from mwalimu.serving.bounds import LONGEST_HEAD, PromptProtocol
from mwalimu.telemetry import logs
from mwalimu.telemetry.asgi import Telling

KEEP_ALIVE = 5  # seconds that a connection may be idle between requests


class ListeningServer(uvicorn.Server):
    """`connections` at once, None where `app` counts them itself; `grace` is in seconds, for
    requests under way at the end.

    `more` are options of uvicorn.
    """

    def __init__(
        self, app: Any, *, host: str, port: int, connections: int | None, grace: int, **more: Any
    ) -> None:
        given: dict[str, Any] = {"http": PromptProtocol} | more
        self.telling = Telling(app)
        config = uvicorn.Config(
            self.telling,
            host=host,
            port=port,
            ws="none",
            log_config=None,  # its own would print what an exception says as it is
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            h11_max_incomplete_event_size=LONGEST_HEAD,
            limit_concurrency=connections,
            timeout_graceful_shutdown=grace,
            **given,
        )
        logs.warn_on_stderr()
        super().__init__(config)
        self._on_started: Callable[[], None] = lambda: None

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()

    def listen(self, on_started: Callable[[], None]) -> None:
        """Until it ends. Raises ConfigError where the address or the certificate cannot be had."""
        self._on_started = on_started
        where = f"{self.config.host}:{self.config.port}"
        try:
            with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
                runner.run(self.serve())
        except SystemExit:
            fix = "choose another host or port"
            raise ConfigError("cannot listen there", where=where, fix=fix) from None
        except OSError as error:
            raise ConfigError(f"cannot be served ({error})", where=where) from None
