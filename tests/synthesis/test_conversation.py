"""Relabelled and simulated conversations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import Config
from mwalimu.data.record import Message, Record
from mwalimu.errors import ConfigError
from mwalimu.synthesis.conversation import OPEN, PLAY_THE_USER, require_suited
from mwalimu.teachers.base import Request
from tests.synthesis.scripted import TOOLS, Scripted, Stage, config_of, rows, says, texts

CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}


def counted(request: Request) -> str:
    """Tells how many turns it saw and the last of them."""
    return f"{len(request.messages)}:{request.messages[-1].content}"


def chat(*turns: str, task: str = "conversation", **fields: Any) -> Record:
    """A system turn, then user and assistant in turn."""
    messages = [Message("assistant" if i % 2 else "user", t) for i, t in enumerate(turns)]
    fields = {"tools": TOOLS} | fields
    return Record("r0", task, (Message("system", "Be kind."), *messages), **fields)


def relabelling(folder: Path, teacher: Scripted, **generate: Any) -> Config:
    settings = {"conversation": "relabel"} | generate
    return config_of(folder, [teacher], task="conversation", generate=settings)


def simulating(folder: Path, teacher: Scripted, user: Scripted, **generate: Any) -> Config:
    settings = {"conversation": "simulate"} | generate
    return config_of(folder, [teacher], task="conversation", user=user, generate=settings)


def turns_of(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in row["messages"]]


def test_every_assistant_turn_is_the_teachers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Scripted("t", counted)
    record = chat("one", "gold 1", "two", "gold 2", "three", reference="gold 3")
    stage = Stage(tmp_path, monkeypatch, teacher)
    (row,), rejected = stage.run(relabelling(tmp_path, teacher), [record])
    assert not rejected
    assert turns_of(row) == [
        ("system", "Be kind."),
        ("user", "one"),
        ("assistant", "2:one"),
        ("user", "two"),
        ("assistant", "4:two"),
        ("user", "three"),
        ("assistant", "6:three"),
    ]
    assert row["learn"] == "all" and row["reference"] == "gold 3"
    assert row["teacher"]["turns"] == 3
    keys = [turn["request_key"] for turn in row["teacher"]["earlier"]]
    assert [*keys, row["teacher"]["request_key"]] == [request.key for request in teacher.asked]
    # The teacher saw its own words, not the record's.
    assert [m.content for m in teacher.asked[2].messages if m.role == "assistant"] == [
        "2:one",
        "4:two",
    ]


def test_a_single_turn_is_a_plain_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = Scripted("t", counted)
    stage = Stage(tmp_path, monkeypatch, teacher)
    stage.run(relabelling(tmp_path, teacher), [chat("one")])
    stage.run(relabelling(tmp_path, teacher, conversation="last"), [chat("one")], "plain")
    assert stage.bytes() == stage.bytes("plain")
    assert len(teacher.asked) == 1


def test_calls_and_their_results_are_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = Scripted("t", counted)
    messages = (
        Message("user", "where"),
        Message("assistant", "let me look", (CALL,)),
        Message("tool", "there", (), "c1"),
        Message("assistant", "gold"),
        Message("user", "thanks"),
    )
    record = Record("r0", "generic", messages)
    stage = Stage(tmp_path, monkeypatch, teacher)
    (row,), _ = stage.run(relabelling(tmp_path, teacher), [record])
    assert [text for _, text in turns_of(row)] == [
        "where",
        "let me look",
        "there",
        "3:there",
        "thanks",
        "5:thanks",
    ]
    assert row["messages"][1]["tool_calls"] == [CALL]
    # Nothing but calls to relabel: a plain answer.
    (row,), _ = stage.run(relabelling(tmp_path, teacher), [Record("r1", "generic", messages[:3])])
    assert "learn" not in row and texts([row]) == ["3:there"]


@pytest.mark.parametrize(
    ("bad", "status", "reason"),
    [
        (says("", finish_reason="refusal"), "refused", "turn 2: the teacher refused"),
        (says("half", finish_reason="length"), "truncated", "turn 2: the answer did not end"),
        (says(" "), "invalid", "turn 2: the answer is empty"),
        (says("", tool_calls=(CALL,)), "invalid", "turn 2: the teacher calls a tool"),
    ],
)
def test_a_turn_that_is_not_ok_ends_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: Any, status: str, reason: str
) -> None:
    teacher = Scripted("t", lambda r: bad if r.messages[-1].content == "two" else "fine")
    record = chat("one", "gold 1", "two", "gold 2", "three")
    stage = Stage(tmp_path, monkeypatch, teacher)
    accepted, (row,) = stage.run(relabelling(tmp_path, teacher), [record])
    assert not accepted and row["status"] == status
    assert row["reason"].startswith(reason)
    assert "three" not in teacher.questions()


def test_the_last_turn_may_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = says("", tool_calls=(CALL,))
    teacher = Scripted("t", lambda r: call if r.messages[-1].content == "two" else "fine")
    stage = Stage(tmp_path, monkeypatch, teacher)
    (row,), _ = stage.run(relabelling(tmp_path, teacher), [chat("one", "gold", "two")])
    assert row["messages"][-1]["tool_calls"] == [CALL]


@pytest.mark.parametrize("mode", ["relabel", "simulate"])
def test_rows_of_other_tasks_get_a_plain_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    teacher, user = Scripted("t", "neutral"), Scripted("u", "more")
    record = chat("one", "gold", "two", task="nli")
    stage = Stage(tmp_path, monkeypatch, teacher, user)
    (row,), _ = stage.run(simulating(tmp_path, teacher, user, conversation=mode), [record])
    assert [text for _, text in turns_of(row)] == ["Be kind.", "one", "gold", "two", "neutral"]
    assert "learn" not in row and not user.asked and len(teacher.asked) == 1


@pytest.mark.parametrize("task", ["nli", "math", "qa"])
def test_a_task_that_is_no_conversation_is_refused(tmp_path: Path, task: str) -> None:
    for mode, fine in (("last", True), ("relabel", False), ("simulate", False)):
        config = config_of(
            tmp_path, [Scripted("t", "x")], task=task, generate={"conversation": mode}
        )
        if fine:
            require_suited(config)
            continue
        with pytest.raises(ConfigError, match=f"{mode} does not suit task {task}"):
            require_suited(config)


def test_a_played_user_carries_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = Scripted("t", lambda r: f"answer to {r.messages[-1].content}")
    user = Scripted("u", lambda r: f"question {len(r.messages)}")
    record = chat("my printer", "gold", "the next", tools=TOOLS)
    stage = Stage(tmp_path, monkeypatch, teacher, user)
    (row,), _ = stage.run(simulating(tmp_path, teacher, user, turns=3), [record])
    assert turns_of(row) == [
        ("system", "Be kind."),
        ("user", "my printer"),
        ("assistant", "answer to my printer"),
        ("user", "question 4"),
        ("assistant", "answer to question 4"),
        ("user", "question 6"),
        ("assistant", "answer to question 6"),
    ]
    told = row["teacher"]
    assert (told["user_model"], told["turns"], told["ended"]) == ("u", 3, "all turns")
    assert told["user_keys"] == [request.key for request in user.asked]
    assert row["learn"] == "all"
    view = user.asked[1]
    assert [(m.role, m.content) for m in view.messages] == [
        ("system", PLAY_THE_USER),
        ("user", OPEN),
        ("assistant", "my printer"),
        ("user", "answer to my printer"),
        ("assistant", "question 4"),
        ("user", "answer to question 4"),
    ]
    assert not view.tools and teacher.asked[0].tools


@pytest.mark.parametrize(
    ("said", "turns", "ended"),
    [
        ("[END]", 1, "settled"),
        (" [end]. ", 1, "settled"),
        ("Thanks, that is all. [END]", 2, "settled"),
        (says("and th", finish_reason="length"), 1, "the user model: truncated"),
        (says("", finish_reason="refusal"), 1, "the user model: refused"),
        (says("\n"), 1, "the user model: invalid"),
        ("more", 3, "all turns"),
    ],
)
def test_how_a_simulation_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Any, turns: int, ended: str
) -> None:
    teacher, user = Scripted("t", counted), Scripted("u", said)
    stage = Stage(tmp_path, monkeypatch, teacher, user)
    (row,), _ = stage.run(simulating(tmp_path, teacher, user, turns=3), [chat("hello")])
    assert (row["teacher"]["turns"], row["teacher"]["ended"]) == (turns, ended)
    assert row["messages"][-1]["role"] == "assistant"
    assert "[end]" not in str(row["messages"]).lower()
    assert len(row["messages"]) == 1 + 2 * turns


def test_a_teacher_that_fails_in_a_simulation_fails_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = says("", finish_reason="refusal")
    teacher = Scripted("t", lambda r: refusal if r.messages[-1].content == "more" else "fine")
    user = Scripted("u", "more")
    stage = Stage(tmp_path, monkeypatch, teacher, user)
    accepted, (row,) = stage.run(simulating(tmp_path, teacher, user), [chat("hello")])
    assert not accepted
    assert (row["status"], row["reason"]) == ("refused", "turn 2: the teacher refused")


def test_a_tool_call_ends_a_simulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, user = Scripted("t", says("", tool_calls=(CALL,))), Scripted("u", "more")
    stage = Stage(tmp_path, monkeypatch, teacher, user)
    (row,), _ = stage.run(simulating(tmp_path, teacher, user), [chat("hello")])
    assert row["messages"][-1]["tool_calls"] == [CALL]
    assert row["teacher"]["ended"] == "a tool call" and not user.asked


def test_the_teacher_plays_the_user_where_no_other_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Scripted("t", lambda r: "[END]" if r.messages[0].content == PLAY_THE_USER else "yes")
    settings = {"conversation": "simulate"}
    config = config_of(tmp_path, [teacher], task="conversation", generate=settings)
    (row,), _ = Stage(tmp_path, monkeypatch, teacher).run(config, [chat("hello")])
    assert row["teacher"]["user_model"] == "t" and len(teacher.asked) == 2


def test_samples_are_conversations_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Scripted("t", lambda r: f"answer {r.sample}")
    user = Scripted("u", lambda r: f"reply {r.sample}")
    config = config_of(
        tmp_path,
        [teacher],
        task="conversation",
        user=user,
        temperature=0.7,
        generate={"conversation": "simulate", "turns": 2, "samples": 2},
    )
    accepted, _ = Stage(tmp_path, monkeypatch, teacher, user).run(config, rows("hello"))
    said = [[text for _, text in turns_of(row)] for row in accepted]
    assert said == [["hello", f"answer {i}", f"reply {i}", f"answer {i}"] for i in range(2)]


@pytest.mark.parametrize("local", ["none", "teacher", "user", "both"])
@pytest.mark.parametrize("mode", ["relabel", "simulate"])
def test_chance_and_a_second_life_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, local: str
) -> None:
    """Also with local models, which answer in batches that the input alone decides."""
    records = [
        Record(f"r{i}", "conversation", tuple(chat(f"q{i}", "gold", f"again {i}").messages))
        for i in range(25)
    ]
    outputs, batches = [], []
    for life, latency in (("fast", 0.0), ("slow", 0.004), ("slower", 0.008)):
        teacher = Scripted(
            "t", counted, latency_s=latency, batch_size=4 if local in ("teacher", "both") else 1
        )
        user = Scripted(
            "u",
            lambda r: "[END]" if int(r.key[0], 16) < 4 else f"so {r.key[:3]}",
            latency_s=latency,
            batch_size=8 if local in ("user", "both") else 1,
        )
        stage = Stage(tmp_path / life, monkeypatch, teacher, user)
        config = simulating(tmp_path, teacher, user, conversation=mode)
        stage.run(config, records)
        outputs.append(stage.bytes())
        batches.append([one.batches for one in (teacher, user) if one.batch_size > 1])
        sent = len(teacher.asked) + len(user.asked)
        stage.run(config, records, "again")
        assert stage.bytes("again") == outputs[-1]
        assert len(teacher.asked) + len(user.asked) == sent
    assert outputs[0] == outputs[1] == outputs[2]
    assert batches[0] == batches[1] == batches[2]
