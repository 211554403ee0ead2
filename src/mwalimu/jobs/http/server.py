"""The process around the service: TLS where it is set, a prompt end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI

from mwalimu.jobs.http.front import Front, Protocol
from mwalimu.serving.listening import ListeningServer

CONNECTIONS = 1000
GRACE = 5  # seconds that requests under way have to end


class Server(ListeningServer):
    """`should_exit = True` ends it; those who listen to events are told to come again."""

    def __init__(
        self,
        app: FastAPI,
        *,
        host: str,
        port: int,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self.app = app
        front = Front(app, CONNECTIONS)
        super().__init__(
            front,
            host=host,
            port=port,
            connections=None,
            grace=GRACE,
            http=Protocol,
            proxy_headers=False,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        front.connections = self.server_state.connections
        self.telling.on_answer = app.state.metrics.answered

    async def shutdown(self, sockets: Any = None) -> None:
        self.app.state.feed.close()
        await super().shutdown(sockets)
