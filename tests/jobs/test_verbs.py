"""What may be asked of a job is asked alike of the store, over HTTP, by both clients, by the
command line and by Azure's names; and something comes of it in the states that the table says.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main

from mwalimu.azure.job_operations import JobOperations
from mwalimu.commands.service_jobs import app
from mwalimu.jobs import AsyncClient, Client
from mwalimu.jobs.client import requests
from mwalimu.jobs.http.access import ROLES
from mwalimu.jobs.records import Role, Spec
from mwalimu.jobs.refusals import WrongState
from mwalimu.jobs.states import ENDED, HELD, VERBS, State
from mwalimu.jobs.store.job_store import JobStore
from tests.jobs.service import running

IDLE = {
    ("pause", State.PAUSE_REQUESTED),
    ("pause", State.PAUSED),
    ("cancel", State.CANCEL_REQUESTED),
    ("cancel", State.CANCELED),
}
"""Asked again, it is as it was asked to be: no refusal, and nothing comes of it."""

PASSING = {State.NOT_STARTED, State.NOT_RESPONDING}
"""Nobody meets a job in them: they begin and end within one transaction."""


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_its_place_everywhere(verb: str) -> None:
    call = getattr(requests, verb)("a")
    path = "/v1/jobs/{job}" + ("" if verb == "delete" else f"/{verb}")
    assert (call.method, call.path) == (
        "DELETE" if verb == "delete" else "POST",
        path.format(job="a"),
    )
    assert ROLES[call.method, path] is Role.SUBMITTER
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert verb in commands
    for kind in (JobStore, Client, AsyncClient, JobOperations):
        assert callable(getattr(kind, verb, None)) or verb in vars(kind), kind


def test_no_route_changes_a_job_but_by_a_verb() -> None:
    beside = {"ask"}  # a question to its student
    found = {
        path.rpartition("/")[2] if method == "POST" else "delete"
        for method, path in ROLES
        if path.startswith("/v1/jobs/{job}") and method != "GET"
    }
    assert found == set(VERBS) | beside


@pytest.mark.parametrize("state", list(State))
def test_something_comes_of_a_verb_in_the_states_of_the_table(tmp_path: Path, state: State) -> None:
    store = JobStore(tmp_path / "service.db")
    for verb, states in VERBS.items():
        store.submit(Spec("distillation", {}), owner="asha", name=verb)
        with store.database.change() as db:
            db.execute("UPDATE jobs SET state = ? WHERE name = ?", (state, verb))
        ask: Callable[[str], object] = getattr(store, verb)
        if state in states:
            ask(verb)
            assert verb == "delete" or store.get(verb).state is not state
        elif (verb, state) in IDLE:
            ask(verb)
            assert store.get(verb).state is state
        elif state not in PASSING:
            with pytest.raises(WrongState):
                ask(verb)


def test_the_service_tells_the_table(tmp_path: Path) -> None:
    with running(tmp_path) as place, Client(place.url, place.tokens[Role.VIEWER]) as client:
        told = {one["state"]: one for one in client.states()}
    assert list(told) == list(State)
    for state, one in told.items():
        assert (one["held"], one["ended"]) == (state in HELD, state in ENDED)
        assert set(one["verbs"]) == {verb for verb, states in VERBS.items() if state in states}
