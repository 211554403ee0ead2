"""The job service of one workspace: HTTP, the supervisor beside it, and the workers it starts."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from mwalimu.data.record import Json
from mwalimu.errors import MissingDependency
from mwalimu.files import atomic_writer, exclusive, write_json
from mwalimu.jobs.client.pinning import own_certificate
from mwalimu.jobs.given import sweep
from mwalimu.jobs.hosting.listening import local_url, public_url, resolved
from mwalimu.jobs.hosting.shipped import put_quickstart
from mwalimu.jobs.playground.playing import Playground
from mwalimu.jobs.records import Lease, Role
from mwalimu.jobs.settings import ServiceSettings
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.store.tokens import TokenStore
from mwalimu.jobs.webhooks.outbox import Outbox
from mwalimu.jobs.webhooks.sender import Sender, Sending
from mwalimu.jobs.webhooks.signing import service_secret
from mwalimu.jobs.workers.launching import Launcher, Worker
from mwalimu.jobs.workers.slots import slots_of
from mwalimu.jobs.workers.supervisor import Supervisor
from mwalimu.jobs.workspace import Workspace
from mwalimu.telemetry import logs

LOCAL = "local"  # the name of the token for programs of this user on this machine

Started = Callable[[str, str | None], None]
"""Told the address, and the token if it was made just now."""


def host(settings: ServiceSettings, on_started: Started) -> None:
    """Until SIGTERM or Ctrl-C; workers are then asked to stop, and their jobs wait.

    Raises:
        RunError: another server has this workspace.
        ConfigError: the address or the certificate cannot be had.
        MissingDependency: the extra `serve` is not installed.
    """
    try:
        from mwalimu.jobs.http.app import create_app
        from mwalimu.jobs.http.server import Server
        from mwalimu.jobs.http.service import open_service
    except ImportError as error:
        raise MissingDependency(
            f"{error.name} is not installed", where="server", fix="pip install 'mwalimu[serve]'"
        ) from None
    settings = resolved(settings)
    workspace, url = Workspace(settings.workspace), public_url(settings)
    workspace.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with exclusive(workspace.root, "workspace"), _until_told():
        store = open_store(settings)
        service = open_service(workspace, store, url=url, settings=settings)
        if not workspace.token.exists():
            put_quickstart(workspace, service.datasets, service.models)
        made = local_token(workspace, service.tokens)
        server = Server(
            create_app(service),
            host=settings.host,
            port=settings.port,
            certificate=settings.tls_certificate,
            key=settings.tls_key,
        )

        def started() -> None:
            write_json(workspace.service, facts(settings))
            on_started(url, made)

        try:
            with (
                _supervised(settings, workspace, store, service.playground),
                webhooks(settings, store),
            ):
                server.listen(started)
        finally:
            service.playground.close()
            workspace.service.unlink(missing_ok=True)


def facts(settings: ServiceSettings) -> Json:
    """What programs of this machine find the server by."""
    found: Json = {"url": local_url(settings), "pid": os.getpid()}
    if settings.tls_certificate is not None:
        found["certificate"] = own_certificate(settings.tls_certificate.read_text())
    return found


def _supervised(
    settings: ServiceSettings, workspace: Workspace, store: JobStore, playground: Playground
) -> Supervisor:
    launch = Launcher(workspace)

    def start(lease: Lease, environment: Mapping[str, str]) -> Worker:
        playground.make_room()
        return launch(lease, environment)

    return Supervisor(
        workspace,
        store,
        slots_of(settings.slots),
        start,
        housekeeping=lambda: keep_house(workspace, store),
        note=note,
    )


def webhooks(settings: ServiceSettings, store: JobStore) -> Sender:
    secret = service_secret(Workspace(settings.workspace).webhook_secret)
    return Sender(Outbox(store.database), Sending(secret, settings.webhook_hosts))


def open_store(settings: ServiceSettings) -> JobStore:
    return JobStore(
        Workspace(settings.workspace).database,
        lease_s=settings.lease_s,
        max_attempts=settings.max_attempts,
        retention_days=settings.retention_days,
        quotas=settings.quotas,
    )


def local_token(workspace: Workspace, tokens: TokenStore) -> str | None:
    """Sees to it that `workspace.token` holds an admin's token; returns it if it is new."""
    with suppress(OSError):
        owner = tokens.find(workspace.token.read_text().strip())
        if owner is not None and owner.role is Role.ADMIN:
            return None
    if any(token.name == LOCAL for token in tokens.all()):
        tokens.revoke(LOCAL)
    made = tokens.make(LOCAL, Role.ADMIN)
    before = os.umask(0o077)
    try:
        with atomic_writer(workspace.token) as handle:
            handle.write(f"{made}\n".encode())
    finally:
        os.umask(before)
    return made


def keep_house(workspace: Workspace, store: JobStore) -> None:
    workspace.sweep()
    for name in store.expire(remove=workspace.remove_job):
        note(f"{name}: ended too long ago, removed")
    Outbox(store.database).expire(store.retention_days)
    sweep(workspace, store.given())


def note(line: str) -> None:
    """A line of the server's log."""
    logs.say(line)
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime()) + line, file=sys.stderr, flush=True)


@contextmanager
def _until_told() -> Iterator[None]:
    """uvicorn ends at the first signal and then raises it again: here that is an end like any
    other. A second Ctrl-C, while workers are waited for, ends this process as it is."""
    told: list[int] = []

    def handle(number: int, _frame: object) -> None:
        told.append(number)
        if told.count(signal.SIGINT) > 1:
            raise KeyboardInterrupt

    before = {one: signal.signal(one, handle) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
