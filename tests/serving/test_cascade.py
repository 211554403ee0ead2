"""What goes out, what is paid, what is said: the cascade called as the server calls it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import Config
from mwalimu.errors import ConfigError, TeacherRefusesKey, TeacherUnreachable
from mwalimu.serving.cascade import REST_S, CascadeOptions, TeacherCascade, open_cascade
from mwalimu.serving.cascade_contract import Cascade, Escalated
from mwalimu.serving.fallback import asked_as
from mwalimu.teachers.base import Request, RowError, TransientError
from tests.serving.answers import PRICED, asks, job, student_says
from tests.synthesis.scripted import Scripted, says
from tests.virtual_time import run_virtual

Work = Callable[[TeacherCascade], Awaitable[None]]
OPTIONS = CascadeOptions(below=0.5)


class Server:
    """Lives of one server with one teacher; `notes` is its log."""

    def __init__(self, config: Config, teacher: Scripted, options: CascadeOptions = OPTIONS):
        self.config = config
        self.teacher = teacher
        self.options = options
        self.notes: list[str] = []

    def live(self, work: Work) -> TeacherCascade:
        async def life() -> TeacherCascade:
            opened = open_cascade(self.config, self.options, self.notes.append, self.teacher)
            async with opened as cascade:
                await work(cascade)
                return cascade

        return asyncio.run(asyncio.wait_for(life(), 60))


async def second(cascade: Cascade, question: str, **fields: Any) -> Escalated | None:
    return await cascade.second(asks(question), student_says(**fields), max_tokens=100)


def test_what_the_student_doubts_the_teacher_answers(tmp_path: Path) -> None:
    async def work(cascade: TeacherCascade) -> None:
        found = await second(cascade, "hard", sure=0.49)
        assert found == Escalated("teacher", "stop", 0.0, "fake")
        assert await second(cascade, "easy", sure=0.5) is None

    server = Server(job(tmp_path), Scripted("big", "teacher"))
    assert server.live(work).counts == {"escalated": 1, "confident": 1}
    assert server.teacher.questions() == ["hard"]
    assert server.notes == []


def test_an_answer_that_was_cut_is_doubted(tmp_path: Path) -> None:
    async def work(cascade: TeacherCascade) -> None:
        assert await second(cascade, "long", sure=0.99, reason="length") is not None

    Server(job(tmp_path), Scripted("big", "teacher")).live(work)


def test_equal_questions_are_bought_once_at_the_same_time_and_later(tmp_path: Path) -> None:
    async def work(cascade: TeacherCascade) -> None:
        found = await asyncio.gather(*(second(cascade, "same") for _ in range(20)))
        assert {answer.text for answer in found if answer} == {"teacher"}
        assert sorted(answer.usd or 0 for answer in found if answer) == [0.0] * 19 + [3.0]
        assert cascade.spent_usd == 3.0
        assert await second(cascade, "same") is not None

    server = Server(job(tmp_path, **PRICED), Scripted("big", "teacher", latency_s=0.02))
    assert server.live(work).counts == {"escalated": 21}
    assert len(server.teacher.asked) == 1


def test_a_question_that_fails_is_sent_once_for_all_who_wait(tmp_path: Path) -> None:
    async def work(cascade: TeacherCascade) -> None:
        found = await asyncio.gather(*(second(cascade, "same") for _ in range(20)))
        assert found == [None] * 20

    script = raising(RowError("too long for the model"))
    server = Server(job(tmp_path), Scripted("big", script, latency_s=0.02))
    assert server.live(work).counts == {"failed": 20}
    assert len(server.teacher.asked) == 1


def test_an_answer_is_not_bought_again_by_the_next_life(tmp_path: Path) -> None:
    config, teacher = job(tmp_path, **PRICED), Scripted("big", "teacher")
    server = Server(config, teacher, replace(OPTIONS, traffic=tmp_path / "traffic"))
    usd: list[float | None] = []

    async def work(cascade: TeacherCascade) -> None:
        found = await second(cascade, "same")
        assert found is not None
        usd.append(found.usd)

    server.live(work)
    server.live(work)
    assert len(teacher.asked) == 1
    assert usd == [3.0, 0.0]  # three tokens at a dollar each


def test_the_cap_is_kept_by_many_at_once_and_over_restarts(tmp_path: Path) -> None:
    """Ten dollars are reserved for each answer, three are paid: 25 dollars buy six answers."""
    options = CascadeOptions(below=0.5, max_usd=25, traffic=tmp_path / "traffic")
    teacher = Scripted("big", "teacher", latency_s=0.01)
    server = Server(job(tmp_path, **PRICED), teacher, options)

    async def work(cascade: TeacherCascade) -> None:
        await asyncio.gather(*(second(cascade, f"question {i}") for i in range(30)))
        spent = cascade.fallback.member.asker.budget.spent[0]
        assert spent == 18e9

    first = server.live(work)
    assert first.counts == {"escalated": 6, "cap": 24}
    assert sum("cap" in note for note in server.notes) == 1

    async def again(cascade: TeacherCascade) -> None:
        assert await second(cascade, "another") is None  # 18 spent, 10 more might be needed
        known = [await second(cascade, question) for question in teacher.questions()]
        assert all(known)

    server.live(again)
    assert len(teacher.asked) == 6


def test_a_cap_in_dollars_needs_a_price(tmp_path: Path) -> None:
    config = job(tmp_path, model="big", base_url="http://127.0.0.1:9/v1")
    options = CascadeOptions(below=0.5, max_usd=1)

    async def nothing(cascade: TeacherCascade) -> None: ...

    with pytest.raises(ConfigError, match="what big costs is unknown"):
        Server(config, Scripted("big", ""), options).live(nothing)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"keep": 0.1}, "--keep: has no place to go"),
        ({"keep": 1.5, "traffic": Path("t")}, "--keep: 1.5 is no share"),
        ({"max_usd": 0.0}, "--max-usd: allows nothing"),
        ({"timeout_s": 0.0}, "--fallback-timeout: allows no answer"),
    ],
)
def test_options_that_contradict_each_other(
    tmp_path: Path, options: dict[str, Any], problem: str
) -> None:
    async def nothing(cascade: TeacherCascade) -> None: ...

    server = Server(job(tmp_path), Scripted("big", ""), replace(OPTIONS, **options))
    with pytest.raises(ConfigError, match=problem):
        server.live(nothing)


def test_another_teacher_is_asked_in_the_same_way(tmp_path: Path) -> None:
    config = job(tmp_path, temperature=0.7, max_tokens=99)
    found = asked_as(config, "gpt-4.1-mini", 5.0).teacher
    assert (found.temperature, found.max_tokens) == (0.7, 99)
    assert found.base_url is not None
    assert found.usd_per_million_output is not None
    assert asked_as(config, "teacher", None).teacher == config.teacher
    assert asked_as(config, "fake", None).teacher == config.teacher


def raising(error: Exception) -> Callable[[Request], str]:
    def script(request: Request) -> str:
        raise error

    return script


FAILURES = {
    "refused": says("", finish_reason="refusal"),
    "filtered": says("x", finish_reason="content_filter"),
    "truncated": says("x", finish_reason="length"),
    "invalid": says(" "),
    "failed": raising(RowError("too long for the model")),
    "unreachable": raising(TeacherRefusesKey("refuses the key")),
    "disk": raising(OSError(errno.ENOSPC, "no space")),
}


@pytest.mark.parametrize("reason", FAILURES)
def test_the_students_answer_stays_with_a_count_and_one_line(tmp_path: Path, reason: str) -> None:
    async def work(cascade: TeacherCascade) -> None:
        assert await second(cascade, "a") is None
        cascade._rest_until = 0.0
        assert await second(cascade, "b") is None

    server = Server(job(tmp_path), Scripted("big", FAILURES[reason]))
    assert server.live(work).counts == {reason: 2}
    assert len(server.notes) == 1
    assert reason in server.notes[0]


def test_a_bug_in_the_way_does_not_reach_the_client(tmp_path: Path) -> None:
    async def work(cascade: TeacherCascade) -> None:
        assert await second(cascade, "a") is None

    server = Server(job(tmp_path), Scripted("big", raising(ZeroDivisionError("oh"))))
    assert server.live(work).counts == {"failed": 1}


def test_an_answer_longer_than_the_client_wants_is_not_sent(tmp_path: Path) -> None:
    async def work(cascade: TeacherCascade) -> None:
        assert await cascade.second(asks("a"), student_says(), max_tokens=2) is None
        assert await cascade.second(asks("a"), student_says(), max_tokens=3) is not None

    server = Server(job(tmp_path), Scripted("big", "teacher"))
    assert server.live(work).counts == {"too long": 1, "escalated": 1}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        [],
        [{"role": "nobody", "content": "a"}],
    ],
)
def test_what_a_teacher_cannot_be_asked_stays(tmp_path: Path, messages: list[Any]) -> None:
    async def work(cascade: TeacherCascade) -> None:
        assert await cascade.second(messages, student_says(), max_tokens=9) is None

    server = Server(job(tmp_path), Scripted("big", "teacher"))
    assert server.live(work).counts == {"not text": 1}


def test_parts_of_text_are_one_text(tmp_path: Path) -> None:
    async def work(cascade: TeacherCascade) -> None:
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        messages = [{"role": "developer", "content": "s"}, {"role": "user", "content": parts}]
        assert await cascade.second(messages, student_says(), max_tokens=9) is not None

    server = Server(job(tmp_path), Scripted("big", "teacher"))
    server.live(work)
    assert [m.to_json() for m in server.teacher.asked[0].messages] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "ab"},
    ]


class Slow(Scripted):
    async def send(self, requests: Any) -> Any:
        await asyncio.sleep(60)
        return await super().send(requests)


def test_nobody_waits_longer_than_the_timeout_and_the_answer_is_there_later(
    tmp_path: Path,
) -> None:
    options = replace(OPTIONS, timeout_s=2.0, traffic=tmp_path / "traffic")
    teacher = Slow("big", "teacher")
    notes: list[str] = []

    async def life() -> None:
        loop = asyncio.get_running_loop()
        async with open_cascade(job(tmp_path), options, notes.append, teacher) as cascade:
            began = loop.time()
            assert await second(cascade, "slow") is None
            assert loop.time() - began == pytest.approx(2.0, abs=0.1)
            await asyncio.sleep(100)
            assert await second(cascade, "slow") is not None
            assert cascade.counts == {"timeout": 1, "escalated": 1}

    run_virtual(life())
    assert len(teacher.asked) == 1
    assert len(lines(tmp_path / "traffic")) == 1


def test_a_teacher_that_was_away_is_left_alone_for_a_while_and_found_again(
    tmp_path: Path,
) -> None:
    away = True

    def script(request: Request) -> str:
        if away:
            raise TransientError("connection refused", unreachable=True)
        return "teacher"

    async def life() -> None:
        nonlocal away
        teacher = Scripted("big", script)
        async with open_cascade(job(tmp_path), OPTIONS, notes.append, teacher) as cascade:
            assert await second(cascade, "a") is None
            assert await second(cascade, "b") is None
            away = False
            await asyncio.sleep(REST_S)
            assert await second(cascade, "c") is not None
            assert cascade.counts == {"timeout": 1, "resting": 1, "escalated": 1}
            assert "b" not in teacher.questions()

    notes: list[str] = []
    run_virtual(life())


def test_a_key_that_is_refused_for_a_while_ends_nothing(tmp_path: Path) -> None:
    refused = True

    def script(request: Request) -> str:
        if refused:
            raise TeacherRefusesKey("refuses the key")
        return "teacher"

    async def work(cascade: TeacherCascade) -> None:
        nonlocal refused
        assert await second(cascade, "a") is None
        refused = False
        assert await second(cascade, "b") is None
        cascade._rest_until = 0.0
        assert await second(cascade, "c") is not None

    server = Server(job(tmp_path), Scripted("big", script))
    assert server.live(work).counts == {"unreachable": 1, "resting": 1, "escalated": 1}


def test_a_teacher_that_says_429_is_asked_again_within_the_timeout(tmp_path: Path) -> None:
    said = []

    def script(request: Request) -> str:
        said.append(1)
        if len(said) < 3:
            raise TransientError("status 429", rate_limited=True, retry_after_s=1.0)
        return "teacher"

    notes: list[str] = []

    async def life() -> None:
        teacher = Scripted("big", script)
        async with open_cascade(job(tmp_path), OPTIONS, notes.append, teacher) as cascade:
            assert await second(cascade, "a") is not None
            assert cascade.counts == {"escalated": 1}

    run_virtual(life())
    assert notes == []


def test_a_teacher_that_always_says_429_costs_the_timeout_once(tmp_path: Path) -> None:
    options = replace(OPTIONS, timeout_s=5.0)
    script = raising(TransientError("status 429", rate_limited=True, retry_after_s=3.0))

    async def life() -> None:
        async with open_cascade(
            job(tmp_path), options, lambda _: None, Scripted("big", script)
        ) as cascade:
            assert await second(cascade, "a") is None
            assert await second(cascade, "b") is None
            assert cascade.counts == {"timeout": 1, "resting": 1}

    run_virtual(life())


def test_a_server_starts_while_its_teacher_is_away_but_not_with_a_wrong_key(
    tmp_path: Path,
) -> None:
    class Away(Scripted):
        error: Exception = TeacherUnreachable("no answer from the teacher")

        async def check(self) -> None:
            raise self.error

    async def work(cascade: TeacherCascade) -> None:
        assert await second(cascade, "a") is not None

    teacher = Away("big", "teacher")
    server = Server(job(tmp_path), teacher)
    server.live(work)
    assert server.notes == [
        "no answer from the teacher; the student answers alone until it is back"
    ]
    teacher.error = TeacherRefusesKey("refuses the key")
    with pytest.raises(TeacherRefusesKey):
        server.live(work)


def lines(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("traffic-*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_bytes().splitlines()]


def test_what_was_handed_on_is_kept_once_with_both_answers(tmp_path: Path) -> None:
    options = replace(OPTIONS, traffic=tmp_path / "traffic")

    async def work(cascade: TeacherCascade) -> None:
        for _ in range(2):
            await second(cascade, "hard", text="wrong", sure=0.25)
        await second(cascade, "easy", sure=0.75)

    Server(job(tmp_path), Scripted("big", "right"), options).live(work)
    (row,) = lines(tmp_path / "traffic")
    assert row["messages"] == asks("hard")
    assert (row["student"], row["teacher"], row["model"]) == ("wrong", "right", "fake")
    assert row["metadata"]["source"] == "escalated"
    assert row["metadata"]["probability"] == 1.0
    assert row["metadata"]["confidence"] == pytest.approx(0.25)
    mode = (tmp_path / "traffic" / "traffic-000001.jsonl").stat().st_mode
    assert mode & 0o077 == 0


def test_a_share_of_the_others_is_kept_and_an_equal_question_is_drawn_alike(
    tmp_path: Path,
) -> None:
    options = replace(OPTIONS, traffic=tmp_path / "traffic", keep=0.25)

    async def work(cascade: TeacherCascade) -> None:
        for _ in range(2):
            for number in range(200):
                await second(cascade, f"easy {number}", sure=0.9)

    Server(job(tmp_path), Scripted("big", "right"), options).live(work)
    rows = lines(tmp_path / "traffic")
    assert 30 <= len(rows) <= 70
    assert {row["metadata"]["source"] for row in rows} == {"kept"}
    assert {row["metadata"]["probability"] for row in rows} == {0.25}
    assert {row["teacher"] for row in rows} == {None}


def test_nothing_is_kept_unless_asked(tmp_path: Path) -> None:
    places: list[Path] = []

    async def work(cascade: TeacherCascade) -> None:
        assert await second(cascade, "hard") is not None
        places.append(cascade.fallback.member.asker.store.folder)

    Server(job(tmp_path), Scripted("big", "right")).live(work)
    assert not places[0].exists()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_costs_the_record_and_not_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, traffic=tmp_path / "traffic")

    async def work(cascade: TeacherCascade) -> None:
        assert await second(cascade, "first") is not None
        assert cascade.log is not None
        full, write = cascade.log._file, os.write

        def on_a_full_disk(file: int, data: Any) -> int:
            if file == full:
                write(file, data[:5])
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, data)

        monkeypatch.setattr(os, "write", on_a_full_disk)
        assert await second(cascade, "second") is not None
        monkeypatch.setattr(os, "write", write)
        assert await second(cascade, "third") is not None

    server = Server(job(tmp_path), Scripted("big", "right"), options)
    assert server.live(work).counts == {"escalated": 3, "not kept": 1}
    assert [row["messages"] for row in lines(tmp_path / "traffic")] == [
        asks("first"),
        asks("third"),
    ]
    assert len(server.notes) == 1
    assert "no space left" in server.notes[0]


def test_a_store_on_a_full_disk_leaves_the_students_answer_and_holds_no_money(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = CascadeOptions(below=0.5, max_usd=10, traffic=tmp_path / "traffic")

    async def work(cascade: TeacherCascade) -> None:
        store, write = cascade.fallback.member.asker.store, os.write

        def on_a_full_disk(file: int, data: Any) -> int:
            if file == store._file:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, data)

        monkeypatch.setattr(os, "write", on_a_full_disk)
        assert await second(cascade, "first") is None
        monkeypatch.setattr(os, "write", write)
        assert await second(cascade, "second") is not None

    server = Server(job(tmp_path, **PRICED), Scripted("big", "right", concurrency=1), options)
    assert server.live(work).counts == {"disk": 1, "escalated": 1}


def test_two_servers_do_not_share_a_traffic_folder(tmp_path: Path) -> None:
    from mwalimu.errors import RunError

    options = replace(OPTIONS, traffic=tmp_path / "traffic")
    other = Server(job(tmp_path), Scripted("big", "right"), options)

    async def both() -> None:
        async with open_cascade(other.config, options, print, other.teacher):
            with pytest.raises(RunError, match="another mwalimu works in this traffic folder"):
                async with open_cascade(other.config, options, print, other.teacher):
                    pass

    asyncio.run(both())
