"""Both clients against a real socket that fails as networks do."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tarfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import ConfigError, MwalimuError, RunError
from mwalimu.jobs import AsyncClient, Client
from mwalimu.jobs.client import transport
from mwalimu.jobs.client.problems import NotAllowed, ServiceUnreachable, WaitedTooLong
from mwalimu.jobs.records import Event
from mwalimu.jobs.refusals import NotFound, QuotaReached, WrongState
from mwalimu.jobs.states import State
from tests.jobs.client.scripted import HANG_UP, Answer, Asked, Scripted, a_job, refuse, tell

TOKEN = "mw_a-token-of-a-test"
Do = Callable[..., Any]


def blocking(url: str, verb: str, *args: Any, **named: Any) -> Any:
    with Client(url, TOKEN) as client:
        found = getattr(client, verb)(*args, **named)
        return list(found) if isinstance(found, Iterator) else found


def asynchronous(url: str, verb: str, *args: Any, **named: Any) -> Any:
    async def ask() -> Any:
        async with AsyncClient(url, TOKEN) as client:
            found = getattr(client, verb)(*args, **named)
            return await found if isinstance(found, Awaitable) else [one async for one in found]

    return asyncio.run(ask())


@pytest.fixture(params=[blocking, asynchronous])
def do(request: pytest.FixtureRequest) -> Do:
    found: Do = request.param
    return found


def in_turn(*answers: Answer) -> Callable[[Asked], Answer]:
    left = iter(answers)
    return lambda asked: next(left)


def test_both_clients_have_the_same_verbs() -> None:
    def verbs(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert verbs(Client) == verbs(AsyncClient)


def test_the_token_is_sent_and_the_answer_read(do: Do) -> None:
    with Scripted(in_turn(tell(a_job()))) as service:
        job = do(service.url, "job", "one")
    assert (job.name, job.state, job.tags) == ("one", State.RUNNING, {})
    (asked,) = service.asked
    assert (asked.path, asked.headers["authorization"]) == ("/v1/jobs/one", f"Bearer {TOKEN}")


def test_a_safe_request_is_sent_again_until_it_is_answered(do: Do) -> None:
    answers = in_turn(HANG_UP, refuse(503, "starts"), Answer(200, b'{"jobs', cut=3), tell(a_job()))
    with Scripted(answers) as service:
        assert do(service.url, "job", "one").name == "one"
    assert len(service.asked) == 4


def test_a_submission_whose_answer_is_lost_is_one_job(do: Do) -> None:
    made: list[str] = []

    def answer(asked: Asked) -> Answer:
        if asked.method == "GET":
            return tell(a_job(asked.path.rpartition("/")[2]))
        name = json.loads(asked.body)["name"]
        made.append(name)
        return HANG_UP if len(made) == 1 else refuse(409, "there is a job of that name")

    with Scripted(answer) as service:
        job = do(service.url, "submit", {"config": {}})
    assert made == [job.name, job.name]
    assert [one.method for one in service.asked] == ["POST", "POST", "GET"]


def test_a_submission_with_a_chosen_name_is_never_sent_twice(do: Do) -> None:
    with Scripted(in_turn(HANG_UP)) as service, pytest.raises(ServiceUnreachable):
        do(service.url, "submit", {"config": {}, "name": "mine"})
    assert len(service.asked) == 1


def test_a_name_that_is_taken_is_a_conflict_on_the_first_attempt(do: Do) -> None:
    with (
        Scripted(in_turn(refuse(409, "taken"))) as service,
        pytest.raises(WrongState, match="taken"),
    ):
        do(service.url, "submit", {"config": {}, "name": "mine"})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ConfigError),
        (401, NotAllowed),
        (403, NotAllowed),
        (404, NotFound),
        (409, WrongState),
        (413, ConfigError),
        (429, QuotaReached),
        (500, RunError),
        (302, RunError),
    ],
)
def test_what_is_refused_is_our_error(do: Do, status: int, kind: type[MwalimuError]) -> None:
    told = refuse(status, "is\nwrong", where="config.task", fix="mend it")
    with Scripted(in_turn(told)) as service, pytest.raises(kind) as caught:
        do(service.url, "job", "one")
    assert type(caught.value) is kind
    assert str(caught.value) == "config.task: is wrong; mend it"
    assert len(service.asked) == 1


def test_a_redirect_takes_the_token_nowhere(do: Do) -> None:
    with Scripted(in_turn()) as other:
        moved = Answer(307, b"", headers={"location": f"{other.url}/v1/jobs/one"})
        with Scripted(in_turn(moved)) as service, pytest.raises(RunError, match="307"):
            do(service.url, "job", "one")
        assert other.asked == []


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"name": 1}', b""])
def test_an_answer_that_is_none_is_one_line(do: Do, body: bytes) -> None:
    with Scripted(in_turn(Answer(200, body))) as service, pytest.raises(ServiceUnreachable) as it:
        do(service.url, "job", "one")
    assert "cannot be read" in str(it.value) and "\n" not in str(it.value)


def test_nobody_there(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "PATIENCE_S", 0.1)
    with Scripted(in_turn()) as service:
        url = service.url
    with pytest.raises(ServiceUnreachable, match="ConnectError") as caught:
        do(url, "job", "one")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.com", "unprotected"),
        ("http://127.0.0.1.example.com:80", "unprotected"),
        ("http://me:secret@127.0.0.1", "holds a password"),
        ("ftp://127.0.0.1", "no address"),
        ("127.0.0.1:8000", "no address"),
        ("", "no address"),
    ],
)
def test_addresses_that_get_no_token(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Client(url, TOKEN)
    assert "secret" not in str(caught.value)


def test_names_stay_one_part_of_the_path(do: Do) -> None:
    with Scripted(lambda asked: refuse(404, "not here")) as service:
        for name in ("../v1/tokens", "..", "a/b?c#d", "a b"):
            with pytest.raises(NotFound):
                do(service.url, "job", name)
    assert [one.path.count("/") for one in service.asked] == [3, 3, 3, 3]


def test_a_file_is_uploaded_as_it_is(do: Do, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"messages": []}\n' * 40_000)
    told = {
        "name": "rows",
        "version": 2,
        "sha256": "x",
        "rows": 3,
        "size": 4,
        "task": "qa",
        "owner": "me",
        "created": 1.0,
    }
    with Scripted(in_turn(HANG_UP, tell(told))) as service:
        assert do(service.url, "upload", "rows", file, task="qa").version == 2
    assert service.asked[1].body == file.read_bytes()
    assert service.asked[1].path == "/v1/datasets/rows?task=qa"


def an_event(number: int, kind: str = "progress", **data: Any) -> bytes:
    event = {"number": number, "job": "one", "time": 1.0, "kind": kind, "data": data}
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(event)}\n\n".encode()


def test_a_broken_event_stream_loses_nothing_and_tells_nothing_twice(do: Do) -> None:
    """The job had ended before, once; then it breaks within an event, then the server ends it."""
    ended = {2: "Failed", 9: "Completed"}
    events = [an_event(n, "state", state=ended.get(n, "Running")) for n in range(1, 10)]

    def answer(asked: Asked) -> Answer:
        after = int(asked.path.split("after=")[1].split("&")[0])
        if "follow=true" not in asked.path or after == 7:
            return Answer(200, b"".join(events[after:]))
        if after == 0:
            return Answer(200, b"".join(events[:2]))
        if after == 2:
            return Answer(200, b"".join(events[2:7]), cut=len(b"".join(events[2:7])) - 20)
        return Answer(200, b": here\n\n" + b"".join(events[after:7]))

    with Scripted(answer) as service:
        found: list[Event] = do(service.url, "follow_events", job="one")
    assert [event.number for event in found] == list(range(1, 10))
    followed = [asked.path for asked in service.asked if "follow=true" in asked.path]
    assert [path.split("after=")[1][0] for path in followed] == ["0", "2", "6", "7"]


def test_a_broken_log_goes_on_at_its_byte(do: Do) -> None:
    """Until the job has ended: a server that stops ends the stream too."""
    log = "première ligne\ndeuxième\n".encode() * 5
    states = ["Running", "Completed", "Completed"]

    def answer(asked: Asked) -> Answer:
        if "/logs" not in asked.path:
            return tell(a_job(state=states.pop(0)))
        after = int(asked.path.split("after=")[1].split("&")[0])
        if "follow=true" not in asked.path or after == 50:
            return Answer(200, log[after:])
        return Answer(200, log[after:], cut=7) if after < 21 else Answer(200, log[after:50])

    with Scripted(answer) as service:
        assert b"".join(do(service.url, "follow_log", "one")) == log
    assert states == ["Completed"]


def test_waiting_ends_with_the_job(do: Do) -> None:
    states = ("Queued", "Running", "HANG UP", "Finalizing", "Completed")
    answers = [HANG_UP if s == "HANG UP" else tell(a_job(state=s)) for s in states]
    with Scripted(in_turn(*answers)) as service:
        assert do(service.url, "wait", "one").state is State.COMPLETED


def test_waiting_has_an_end_of_its_own(do: Do) -> None:
    with Scripted(lambda asked: tell(a_job())) as service, pytest.raises(WaitedTooLong) as caught:
        do(service.url, "wait", "one", timeout=0.3)
    assert str(caught.value) == "one: is Running after 0.3 s; it goes on; wait longer"


def test_a_stream_tells_events_and_lines_until_the_end(do: Do) -> None:
    """What is written between two looks, and a last line without an end, are told too."""
    logs = [b"first\nsec", b"", b"ond\n", b"", b"last", b""]
    events = [an_event(4), b"", an_event(6), b"", b""]
    states = ["Running", "Running", "Completed"]

    def answer(asked: Asked) -> Answer:
        if "/logs" in asked.path:
            return Answer(200, logs.pop(0))
        if "/events" in asked.path:
            return Answer(200, events.pop(0))
        return tell(a_job(state=states.pop(0)))

    with Scripted(answer) as service:
        told = do(service.url, "stream", "one", after=3)
    shown = [one.number if isinstance(one, Event) else one.text for one in told]
    assert shown == [4, "first", 6, "second", "last"]
    paths = [asked.path for asked in service.asked if "/logs" in asked.path]
    assert [path.rpartition("=")[2] for path in paths] == ["0", "9", "9", "13", "13", "17"]


def artefact(data: bytes, told: str | None = None) -> Callable[[Asked], Answer]:
    file = {"path": "report.md", "size": len(data), "sha256": told or sha256(data)}

    def answer(asked: Asked) -> Answer:
        if asked.path.endswith("/artefacts"):
            return tell({"files": [file]})
        return Answer(200, data)

    return answer


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_download_is_whole_or_not_there(do: Do, tmp_path: Path) -> None:
    to = tmp_path / "new" / "report.md"
    with Scripted(artefact(b"the report", sha256(b"another"))) as service:
        with pytest.raises(RunError, match="arrived damaged"):
            do(service.url, "download", "one", "report.md", to)
        with pytest.raises(NotFound, match="no file of the job's run"):
            do(service.url, "download", "one", "report.html", to)
    assert list(to.parent.iterdir()) == []
    with Scripted(artefact(b"the report")) as service:
        do(service.url, "download", "one", "report.md", to)
    assert to.read_bytes() == b"the report" and list(to.parent.iterdir()) == [to]


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def link(name: str, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, to
    return info


def model_archive(data: bytes) -> Callable[[Asked], Answer]:
    model = {"name": "m", "version": 3, "job": "one", "created": 1.0, "properties": {}}
    return lambda asked: Answer(200, data) if "/download" in asked.path else tell(model)


def test_a_models_folder(do: Do, tmp_path: Path) -> None:
    data = archive(
        (tarfile.TarInfo("m/config.json"), b"{}"), (tarfile.TarInfo("m/weights"), b"1234")
    )
    with Scripted(model_archive(data)) as service:
        do(service.url, "download_model", "m", tmp_path / "mine")
        with pytest.raises(RunError, match="is there already"):
            do(service.url, "download_model", "m", tmp_path / "mine")
    assert (tmp_path / "mine" / "weights").read_bytes() == b"1234"
    assert service.asked[1].path == "/v1/models/m/3/download"


@pytest.mark.parametrize(
    "members",
    [
        [(tarfile.TarInfo("../outside"), b"x")],
        [(link("m/link", "/etc/passwd"), b"")],
        [(link("m/up", "../../.."), b""), (tarfile.TarInfo("m/up/outside"), b"x")],
    ],
    ids=["dots", "link", "through a link"],
)
def test_a_hostile_archive_writes_nothing(
    do: Do, tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    with Scripted(model_archive(archive(*members))) as service, pytest.raises(RunError):
        do(service.url, "download_model", "m", tmp_path / "a" / "mine")
    assert list((tmp_path / "a").iterdir()) == []
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]
