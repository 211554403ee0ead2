"""A server is killed and started again while clients wait for a job and listen to it."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mwalimu.jobs import AsyncClient, Client
from mwalimu.jobs.hosting.local import find
from mwalimu.jobs.states import State
from tests.jobs.servers import Servers


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    found = Servers(tmp_path / "service")
    found.start()
    yield found
    found.end()


@pytest.mark.slow
def test_nobody_who_waits_notices_a_restart(servers: Servers, tmp_path: Path) -> None:
    place = find(servers.workspace)
    assert place is not None
    (tmp_path / "rows.jsonl").write_text(
        json.dumps({"messages": [{"role": "user", "content": "Hello"}]}) + "\n"
    )
    config = {
        "task": "generic",
        "data": {"train": "rows.jsonl"},
        "teacher": {"model": "fake"},
        "student": {"model": "phi-4-mini"},
    }
    found: dict[str, Any] = {}
    with Client(place.url, place.token) as client:
        name = client.submit_with_files({"config": config}, base=tmp_path).name

        def waits() -> None:
            found["ended"] = client.wait(name).state

        async def listens() -> list[int]:
            async with AsyncClient(place.url, place.token) as listener:
                return [event.number async for event in listener.follow_events(job=name)]

        def streams() -> None:
            found["numbers"] = asyncio.run(listens())

        client.pause(name)  # before anybody looks: a job that is paused is waited for no longer
        client.resume(name)
        threads = [threading.Thread(target=waits), threading.Thread(target=streams)]
        for thread in threads:
            thread.start()
        for how in (signal.SIGKILL, signal.SIGTERM):
            time.sleep(0.5)
            servers.end(how)
            servers.start()
        client.cancel(name)
        for thread in threads:
            thread.join(60)
        told = [event.number for event in client.events(job=name)]
    assert found["numbers"] == told and len(told) >= 4
    assert found["ended"] is State.CANCELED
