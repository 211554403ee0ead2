"""A local service on demand: found, started once, and not ended by who asked for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from mwalimu.jobs import AsyncClient, Client
from mwalimu.jobs.client.finding import find_service
from mwalimu.jobs.client.place import Place
from mwalimu.jobs.client.problems import ServiceUnreachable
from mwalimu.jobs.hosting.hosting import facts
from mwalimu.jobs.hosting.local import find, running_service
from mwalimu.jobs.records import Role
from mwalimu.jobs.settings import ServiceSettings
from mwalimu.jobs.workspace import Workspace
from tests.jobs.service import running
from tests.jobs.webhooks.receiver import make_certificate

ASK = """
from pathlib import Path
from mwalimu.jobs.hosting.local import running_service
from mwalimu.jobs.workspace import Workspace
print(running_service(Workspace(Path("service").absolute())).url)
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    found = Workspace(tmp_path / "service")
    yield found
    if found.service.exists():
        end(found, signal.SIGTERM)


def end(workspace: Workspace, how: signal.Signals) -> None:
    os.kill(json.loads(workspace.service.read_text())["pid"], how)
    until = time.monotonic() + 30
    while find(workspace) and time.monotonic() < until:
        time.sleep(0.05)


@pytest.mark.slow
def test_several_who_ask_at_once_get_one_service_which_outlives_them(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", ASK],
            cwd=workspace.root.parent,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for _ in range(4)
    ]
    urls = [process.communicate(timeout=120)[0].strip() for process in asking]
    assert len(set(urls)) == 1 and urls[0].startswith("http://127.0.0.1:")
    assert workspace.token.stat().st_mode & 0o777 == 0o600
    place = find(workspace)
    assert place is not None and place.token not in repr(place)
    with Client(place.url, place.token) as client:
        assert client.me()["role"] == "admin"

    end(workspace, signal.SIGKILL)
    assert workspace.service.exists() and find(workspace) is None
    monkeypatch.setenv("MWALIMU_WORKSPACE", str(workspace.root))
    again = find_service()
    assert again.url != place.url and again.token == place.token


def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "service")
    workspace.root.mkdir()
    workspace.database.write_bytes(b"this is no database at all, but some other file\n" * 40)
    with pytest.raises(ServiceUnreachable) as caught:
        running_service(workspace)
    said = str(caught.value)
    assert "did not start" in said and "server.log" in said and "\n" not in said
    assert "error:" in said


def test_an_address_of_somebody_else_is_not_taken_for_the_service(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.token.write_text("mw_x")
    for text in ("", "{}", '{"url": 3}', '{"url": "http://127.0.0.1:1"}', "[]"):
        workspace.service.write_text(text)
        assert find(workspace) is None


@pytest.mark.parametrize("name", ["127.0.0.1", "desk.example"])
def test_a_self_signed_certificate_is_known_from_the_workspace(tmp_path: Path, name: str) -> None:
    """By whatever name; the service at the same address with another one is not the service."""
    (tmp_path / "other").mkdir()
    ours, other = (make_certificate(folder, name) for folder in (tmp_path, tmp_path / "other"))
    settings = ServiceSettings(host="127.0.0.1", tls_certificate=ours, tls_key=ours)
    for shown, is_found in ((ours, True), (other, False)):
        workspace = Workspace(tmp_path / str(is_found))
        with running(workspace.root, certificate=shown, key=shown) as here:
            port = int(here.url.rpartition(":")[2])
            told = facts(settings.model_copy(update={"port": port}))
            assert "PRIVATE" not in json.dumps(told)
            workspace.service.write_text(json.dumps(told))
            workspace.token.write_text(here.tokens[Role.ADMIN])
            place = find(workspace)
            assert (place is not None) is is_found
            if place is not None:
                asked_both_ways(place)
            with pytest.raises(httpx2.ConnectError):
                httpx2.get(f"{here.url}/health")


def asked_both_ways(place: Place) -> None:
    async def me() -> str:
        async with AsyncClient(place.url, place.token, certificate=place.certificate) as client:
            return str((await client.me())["role"])

    with Client(place.url, place.token, certificate=place.certificate) as client:
        assert client.me()["role"] == asyncio.run(me()) == "admin"
