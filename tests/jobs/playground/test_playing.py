"""The playground over the student of a real job."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from mwalimu.errors import RunError
from mwalimu.jobs.playground.player import UNPAID
from mwalimu.jobs.playground.playing import Playground
from mwalimu.jobs.refusals import WrongState
from mwalimu.jobs.states import State
from tests.jobs.place import Place
from tests.jobs.waiting import wait_for
from tests.synthesis.teacher_server import TeacherServer
from tests.tiny import make_tiny_model

PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 2.0}
ASKED = [{"role": "user", "content": "test 1?"}]


@pytest.fixture(scope="module")
def teacher() -> Iterator[TeacherServer]:
    with TeacherServer() as found:
        yield found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, teacher: TeacherServer) -> Place:
    """Two jobs with the same student: the teacher of the one is free, of the other on a server."""
    student = make_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny", layers=1)
    found = Place(tmp_path_factory.mktemp("workspace"), student)
    assert found.ended(found.submit(name="free").name).state is State.COMPLETED
    served = {"model": "large", "base_url": teacher.url, **PRICES}
    found.submit(name="dear", teacher=served, budget={"usd": 600e-6})
    shutil.copytree(found.workspace.run("free"), found.workspace.run("dear"))
    return found


@pytest.fixture(scope="module")
def playground(place: Place) -> Iterator[Playground]:
    found = Playground(place.workspace)
    yield found
    found.close()


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def player_of(playground: Playground) -> int:
    player = playground._player
    assert player is not None
    return player.pid


def test_student_and_teacher_answer_beside_each_other(playground: Playground) -> None:
    reply = playground.ask("free", ASKED, max_tokens=5)
    assert len(reply["student"]["text"]) <= 5  # a character a token
    assert 0 < reply["student"]["seconds"] < 5  # without the loading
    assert reply["teacher"]["text"].startswith("answer ")
    assert reply["note"] == ""
    before = player_of(playground)
    again = playground.ask("free", ASKED, max_tokens=5)
    assert again["student"]["text"] == reply["student"]["text"]
    assert player_of(playground) == before


def test_what_cannot_be_read_is_one_error_and_the_next_question_is_answered(
    playground: Playground,
) -> None:
    with pytest.raises(RunError, match="longer than the student can read"):
        playground.ask("free", [{"role": "user", "content": "x" * 10_000}])
    assert playground.ask("free", ASKED)["note"] == ""


def test_it_ends_when_nobody_asks(playground: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground, "idle_s", 0.2)
    playground.ask("free", ASKED, max_tokens=1)
    player = player_of(playground)
    wait_for(lambda: playground._player is None)
    assert not is_there(player)


def test_a_teacher_that_costs_money_is_asked_only_if_that_is_said(
    place: Place, teacher: TeacherServer, playground: Playground
) -> None:
    reply = playground.ask("dear", ASKED)
    assert (reply["teacher"], reply["note"]) == (None, UNPAID)
    assert not teacher.asked
    reply = playground.ask("dear", ASKED, pay=True)
    assert reply["teacher"]["text"] == "echo test 1?"
    assert place.store.get("dear").spent_usd == pytest.approx(7 * 1e-6 + 3 * 2e-6)
    assert playground.ask("dear", ASKED, pay=True)["teacher"] == reply["teacher"] | {
        "seconds": pytest.approx(0, abs=5)
    }
    assert teacher.asked == {"test 1?": 1}  # what was bought is not bought again


def test_a_budget_holds_in_the_playground_too(place: Place, playground: Playground) -> None:
    reply = playground.ask("dear", [{"role": "user", "content": "x" * 400}], pay=True)
    assert reply["teacher"] is None
    assert "might exceed it" in reply["note"]


def test_a_job_that_starts_has_the_memory(playground: Playground) -> None:
    player = player_of(playground)
    playground.make_room()
    assert playground._player is None
    assert not is_there(player)


def test_a_student_that_takes_too_long_is_ended(place: Place) -> None:
    hurried = Playground(place.workspace, answer_s=0.1)
    with pytest.raises(RunError, match="the student gave no answer"):
        hurried.ask("free", ASKED)
    assert hurried._player is None
    hurried.close()


def test_a_job_without_a_student_is_told_of(playground: Playground) -> None:
    with pytest.raises(WrongState, match="has no student yet"):
        playground.ask("another", ASKED)
