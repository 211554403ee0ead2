from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mwalimu.jobs.records import Role
from mwalimu.quickstart.job import split_rows
from tests.jobs.dashboard import seeding
from tests.jobs.dashboard.browsing import Tab, browser, chromium, tab
from tests.jobs.service import Running, running

Opener = Callable[..., Tab]


@pytest.fixture(scope="package")
def chrome() -> Iterator[Any]:
    if chromium() is None:
        pytest.skip("no Chromium is installed")
    with browser() as found:
        yield found


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Running]:
    """A service of its own, without jobs."""
    with running(tmp_path / "service") as service:
        yield service


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with jobs of every kind, a model and data sets; not to be changed."""
    with running(tmp_path_factory.mktemp("service")) as found:
        service = found.service
        seeding.queued(service, "waiting", "Ticket triage", owner="vera")
        seeding.failed(service, "policy", "Policy questions")
        seeding.completed(service, "first", "Support desk, rank 16", registers=("desk", "plain"))
        other = seeding.CONFIG | {"student": {"model": "phi-4-mini", "lora_rank": 64}}
        seeding.completed(service, "second", "Support desk, rank 64", better=0.03, config=other)
        seeding.started(service, "going", "Support desk, whole")
        seeding.write_run(service.workspace.run("going"))
        seeding.write_log(service.workspace.log("going"))
        service.models.add("desk", job="first", folder="models/desk")
        upload(found, "tickets", "train", 40)
        upload(found, "tickets-test", "test", 20)
        yield found


@pytest.fixture
def opened(chrome: Any) -> Iterator[Opener]:
    """Opens tabs, and in the end looks whether any did what it should not."""
    with ExitStack() as stack:
        tabs: list[Tab] = []

        def open_tab(here: Running, role: Role | None = Role.ADMIN, **given: Any) -> Tab:
            token = None if role is None else here.tokens[role]
            tabs.append(stack.enter_context(tab(chrome, here.url, token, **given)))
            return tabs[-1]

        yield open_tab
        for one in tabs:
            one.require_clean()


def upload(here: Running, name: str, split: str, count: int) -> None:
    rows = "".join(json.dumps(row) + "\n" for row in split_rows(split, count, 0))
    with here.client() as client:
        client.put(f"/v1/datasets/{name}", content=rows.encode()).raise_for_status()
