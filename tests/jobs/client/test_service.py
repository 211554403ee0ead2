"""Both clients against the real service on a socket; no worker takes its jobs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import ConfigError
from mwalimu.jobs import AsyncClient, Client
from mwalimu.jobs.client import requests
from mwalimu.jobs.client.problems import NotAllowed, of_job
from mwalimu.jobs.client.requests import Call
from mwalimu.jobs.client.watching import require_completed
from mwalimu.jobs.records import Role
from mwalimu.jobs.refusals import NotFound, WrongState
from mwalimu.jobs.states import State
from tests.jobs.client.test_client import Do, asynchronous, blocking
from tests.jobs.service import Running, running

ROWS = [{"messages": [{"role": "user", "content": f"question {i}"}]} for i in range(5)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture(params=[blocking, asynchronous])
def do(request: pytest.FixtureRequest, service: Running, monkeypatch: pytest.MonkeyPatch) -> Do:
    monkeypatch.setattr("tests.jobs.client.test_client.TOKEN", service.tokens[Role.SUBMITTER])

    def ask(verb: str, *args: Any, **named: Any) -> Any:
        return request.param(service.url, verb, *args, **named)

    return ask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def submission(**changes: Any) -> dict[str, Any]:
    config = {
        "task": "generic",
        "data": {"train": "rows.jsonl"},
        "teacher": {"model": "fake"},
        "student": {"model": "phi-4-mini"},
    }
    return {"kind": "distillation", "config": config | changes}


def test_a_job_goes_there_with_its_file_which_is_sent_once(
    do: Do, service: Running, folder: Path
) -> None:
    first = do("submit_with_files", submission(), base=folder)
    second = do("submit_with_files", submission(), base=folder)
    assert (first.state, first.owner) == (State.QUEUED, "sam")
    assert first.registers == ("phi-4-mini-distilled", "phi-4-mini-baseline")
    data = [do("config", job.name)["data"]["train"] for job in (first, second)]
    assert data[0] == data[1] and data[0].startswith("dataset:rows-")
    (dataset,) = [one for one in do("datasets") if one.name in data[0]]
    assert (dataset.rows, dataset.version, dataset.owner) == (5, 1, "sam")
    sent = [one for one in service.service.audit.entries(limit=1000) if dataset.name in one.on]
    assert len(sent) == 1


def test_a_jobs_life_as_a_client_sees_it(do: Do, service: Running, folder: Path) -> None:
    job = do("submit_with_files", submission(), base=folder)
    assert do("pause", job.name).state is State.PAUSED
    assert do("resume", job.name).state is State.QUEUED
    assert do("cancel", job.name).state is State.CANCELED
    assert do("wait", job.name).state is State.CANCELED
    told = do("stream", job.name)
    states = [event.data["state"] for event in told if event.kind == "state"]
    assert states == ["Queued", "Paused", "Queued", "Canceled"]
    assert [event.number for event in do("follow_events", job=job.name)] == [
        event.number for event in told
    ]
    with pytest.raises(WrongState, match="Canceled"):
        require_completed(do("job", job.name))
    do("delete", job.name)
    with pytest.raises(NotFound):
        do("job", job.name)


def test_pages_lead_to_every_job_once(do: Do, service: Running, folder: Path) -> None:
    made = {do("submit_with_files", submission(), base=folder).name for _ in range(5)}
    seen: list[str] = []
    before = None
    while True:
        page = do("jobs", limit=2, before=before)
        seen += [job.name for job in page.jobs]
        if (before := page.next) is None:
            break
    assert made <= set(seen) and len(seen) == len(set(seen))


def test_what_the_service_refuses_is_our_error(do: Do, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"finetune\.epoch.*epochs"):
        do("submit_with_files", submission(finetune={"epoch": 3}), base=folder)
    with pytest.raises(ConfigError, match=r"webhook.*not https"):
        asked = submission() | {"webhook": "http://example.com/"}
        do("submit_with_files", asked, base=folder)
    (folder / "rows.jsonl").write_text('{"messages": 3}\n')
    with pytest.raises(ConfigError):
        do("submit_with_files", submission(), base=folder)
    with pytest.raises(NotFound):
        do("model", "nothing")
    with pytest.raises(NotAllowed, match="needs the role admin"):
        do("tokens")


def test_a_token_that_is_none_is_not_allowed(service: Running) -> None:
    with Client(service.url, "mw_nobody") as client, pytest.raises(NotAllowed):
        client.me()


def test_logs_as_they_are_written(do: Do, service: Running, folder: Path) -> None:
    job = do("submit_with_files", submission(), base=folder)
    log = service.service.workspace.log(job.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    lines = [f"line {i}\n".encode() for i in range(20)]

    def write() -> None:
        for line in lines:
            with log.open("ab") as file:
                file.write(line)
            time.sleep(0.01)
        service.service.store.cancel(job.name)

    writer = threading.Thread(target=write)
    writer.start()
    assert b"".join(do("follow_log", job.name)) == b"".join(lines)
    writer.join()
    assert do("log", job.name, after=7) == b"".join(lines)[7:]


def test_every_request_has_a_route(service: Running) -> None:
    """Each builder against the document that the service gives of itself."""
    with Client(service.url, service.tokens[Role.ADMIN]) as client:
        document = client.send(Call("GET", "/v1/openapi.json", json.loads))
    offered = {
        (method.upper(), tuple("{}" if part.startswith("{") else part for part in path.split("/")))
        for path, methods in document["paths"].items()
        for method in methods
    }
    for call in every_call():
        parts = call.path.split("/")
        assert any(
            method == call.method and _fits(parts, pattern) for method, pattern in offered
        ), f"{call.method} {call.path}"


def every_call() -> list[Call[Any]]:
    file = Path("rows.jsonl")
    given: dict[str, tuple[Any, ...]] = {
        "submit": ({},),
        "estimate": ({},),
        "ask": ("a", []),
        "compare": (["a", "b"],),
        "register": ("a", "b"),
        "delete_model": ("a", 1),
        "evaluate": ("a", "b"),
        "upload": ("a", file),
        "validate": (file,),
        "create_token": ("a", "viewer"),
    }
    alone = {
        "health",
        "me",
        "webhook_secret",
        "jobs",
        "events",
        "models",
        "datasets",
        "registry",
        "schema",
        "states",
    }
    alone |= {"tokens", "audit"}
    named = {"upload": {"task": "qa"}, "validate": {"task": "qa"}}
    verbs = [name for name, value in vars(Client).items() if type(value).__name__ == "Verb"]
    return [
        getattr(requests, verb)(
            *given.get(verb, () if verb in alone else ("a",)), **named.get(verb, {})
        )
        for verb in verbs
    ]


def _fits(parts: list[str], pattern: tuple[str, ...]) -> bool:
    return len(parts) == len(pattern) and all(
        wanted in ("{}", part) for part, wanted in zip(parts, pattern, strict=True)
    )


def test_a_failed_job_is_the_error_that_it_failed_with() -> None:
    told = {"what": "no\nanswer", "where": "teacher", "fix": "", "exit_code": 4}
    error = of_job(told, "one")
    assert error.exit_code == 4
    assert str(error) == "one: teacher: no answer; look at it with 'mwalimu jobs logs one'"
    assert of_job(None, "one").exit_code == 1
    assert of_job(told | {"exit_code": 70}, "one").exit_code == 70


def test_the_lazy_names() -> None:
    import mwalimu.jobs as jobs

    assert jobs.Client is Client and jobs.AsyncClient is AsyncClient
    with pytest.raises(AttributeError):
        _ = jobs.Nothing
