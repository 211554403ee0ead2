"""A local service on demand: found, started once, and not ended by who asked for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mwalimu.jobs import Client
from mwalimu.jobs.client.place import find_service
from mwalimu.jobs.client.problems import ServiceUnreachable
from mwalimu.jobs.hosting.local import find, running_service
from mwalimu.jobs.workspace import Workspace

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
