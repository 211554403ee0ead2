"""The real service over a socket, in a thread of this process, without workers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from mwalimu.jobs.client.pinning import trusted
from mwalimu.jobs.http.app import create_app
from mwalimu.jobs.http.server import Server
from mwalimu.jobs.http.service import Service, open_service
from mwalimu.jobs.records import Role
from mwalimu.jobs.settings import DEFAULTS
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.workspace import Workspace

NAMES = {Role.VIEWER: "vera", Role.SUBMITTER: "sam", Role.ADMIN: "ada"}


@dataclass(frozen=True, slots=True)
class Running:
    """`tokens` by role; the names of their owners are NAMES."""

    url: str
    service: Service
    server: uvicorn.Server
    tokens: dict[Role, str]

    def client(self, role: Role | str = Role.SUBMITTER, **given: Any) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self.tokens[Role(role)]}"}
        given = {"verify": trusted(self.url, None), **given}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=30, **given)


@contextmanager
def running(
    folder: Path, *, certificate: Path | None = None, key: Path | None = None, **given: Any
) -> Iterator[Running]:
    """`given` are those of open_service."""
    workspace = Workspace(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"{'https' if key else 'http'}://127.0.0.1:{port}"
    quotas = given.get("settings", DEFAULTS).quotas
    store = JobStore(workspace.database, quotas=quotas)
    service = open_service(workspace, store, url=url, **given)
    tokens = {role: service.tokens.make(name, role) for role, name in NAMES.items()}
    app = create_app(service)
    server = Server(app, host="127.0.0.1", port=port, certificate=certificate, key=key)
    started = threading.Event()
    thread = threading.Thread(target=server.listen, args=(started.set,), daemon=True)
    thread.start()
    try:
        assert started.wait(30), "the service does not start"
        yield Running(url, service, server, tokens)
    finally:
        service.playground.close()
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the service does not end"
