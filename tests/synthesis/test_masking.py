"""What a served teacher is sent: nothing personal, whoever asks it and however."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mwalimu.choosing import choose
from mwalimu.config import Config, build_config
from mwalimu.data.record import Message, Record
from mwalimu.errors import ConfigError
from mwalimu.run import Run
from mwalimu.synthesis.batches import remote
from mwalimu.synthesis.generate import generate
from mwalimu.synthesis.masking import masked, masks
from mwalimu.teachers.base import Request, Sampling
from mwalimu.teachers.batch import openai_files
from tests.data.personal_data import MAKERS
from tests.estimate import test_probe as estimated
from tests.estimate.jobs import place, word_server
from tests.synthesis import batch_life
from tests.synthesis.batch_server import BatchServer
from tests.synthesis.teacher_server import TeacherServer, completion

MAIL, PHONE, KEY = "ada@lovelace.org", "(415) 234-5678", "sk-ant-api03-" + "x" * 40


def config_for(server: TeacherServer, privacy: str = "mask", **changes: Any) -> Config:
    raw: dict[str, Any] = {
        "task": "generic",
        "data": {"train": "unused", "privacy": privacy},
        "teacher": {"model": "tiny", "base_url": server.url, "max_retries": 0},
        "student": {"model": "unused"},
    }
    return build_config(raw | changes, base=Path.cwd())


def run_stage(folder: Path, config: Config, rows: list[Record]) -> dict[str, Any]:
    return generate(
        config,
        Run(folder / "run"),
        folder / "store",
        rows,
        None,
        stage_fingerprint="f",
        on_progress=lambda *_: None,
    )


def rows_of(folder: Path, name: str = "train") -> list[dict[str, Any]]:
    text = (folder / "run" / "generate" / f"{name}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def stored_bytes(folder: Path) -> bytes:
    files = [path for path in (folder / "store").rglob("*") if path.is_file()]
    assert files
    return b"".join(path.read_bytes() for path in files)


def record(*messages: Message, tools: tuple[dict[str, Any], ...] = ()) -> Record:
    return Record("r", "generic", messages, None, {}, tools)


def test_no_planted_value_reaches_the_wire_or_the_store(tmp_path: Path) -> None:
    rng = random.Random(1)
    values = {kind: make(rng) for kind, make in MAKERS.items()}
    records = [
        Record(f"{kind}-{where}", "generic", messages)
        for kind, value in values.items()
        for where, messages in {
            "user": (Message("user", f"about {value} ok"),),
            "system": (Message("system", f"me: {value} !"), Message("user", f"who, {kind}?")),
        }.items()
    ]
    with TeacherServer() as server:
        run_stage(tmp_path, config_for(server), records)
        sent = json.dumps(server.bodies, ensure_ascii=False)
        assert len(server.bodies) == len(records)
    kept = stored_bytes(tmp_path).decode("utf-8", "replace")
    for kind, value in values.items():
        for part in value.splitlines():
            assert part not in sent and part not in kept
        assert f"[{kind}_1]" in sent
    rows = {row["id"]: row["messages"] for row in rows_of(tmp_path)}
    for kind, value in values.items():
        assert rows[f"{kind}-user"][0]["content"] == f"about {value} ok"  # the user's own text
        assert rows[f"{kind}-user"][1]["content"] == f"echo about {value} ok"  # the answer too


def test_tool_arguments_and_descriptions_are_masked_and_calls_come_back(tmp_path: Path) -> None:
    tool = {
        "type": "function",
        "function": {"name": "send", "description": f"as {MAIL}", "parameters": {"type": "object"}},
    }
    arguments = json.dumps({"to": MAIL, "card": 4111111111111111, "tags": ["x", PHONE]})
    call = {"id": "1", "type": "function", "function": {"name": "send", "arguments": arguments}}
    said = record(
        Message("user", "send it"),
        Message("assistant", "", (call,)),
        Message("tool", f"sent to {MAIL}", (), "1"),
        Message("user", "once more"),
        tools=(tool,),
    )

    def calling(prompt: str, count: int) -> web.Response:
        again = {"name": "send", "arguments": '{"to": "[EMAIL_1]", "note": "say \\"[PHONE_1]\\""}'}
        call = {"id": "2", "type": "function", "function": again}
        return web.json_response(completion("", message={"tool_calls": [call]}))

    with TeacherServer(calling) as server:
        run_stage(tmp_path, config_for(server), [said])
        sent = json.dumps(server.bodies)
    for value in (MAIL, PHONE, "4111111111111111"):
        assert value not in sent and value.encode() not in stored_bytes(tmp_path)
    (row,) = rows_of(tmp_path)
    answered = json.loads(row["messages"][-1]["tool_calls"][0]["function"]["arguments"])
    assert answered == {"to": MAIL, "note": f'say "{PHONE}"'}
    assert row["messages"][1]["tool_calls"] == [call]


@pytest.mark.parametrize("privacy", ["off", "warn"])
def test_nothing_is_masked_unless_asked(tmp_path: Path, privacy: str) -> None:
    with TeacherServer() as server:
        run_stage(tmp_path, config_for(server, privacy), [record(Message("user", MAIL))])
        assert MAIL in json.dumps(server.bodies)


def test_local_teachers_read_the_text_itself() -> None:
    with TeacherServer() as server:
        config = config_for(server)
    assert masks(config, config.teacher)
    local = config.teacher.model_copy(update={"base_url": None, "model": "fake"})
    assert not masks(config, local)


def test_an_invented_placeholder_is_no_answer(tmp_path: Path) -> None:
    def inventing(prompt: str, count: int) -> web.Response:
        return web.json_response(completion("ask [EMAIL_7]"))

    with TeacherServer(inventing) as server:
        config = config_for(server, generate={"min_ok": 0.0})
        run_stage(tmp_path, config, [record(Message("user", MAIL))])
    (reject,) = rows_of(tmp_path, "rejects")
    assert reject["reason"] == "the answer names [EMAIL_7], which stands for nothing"
    assert reject["messages"][0]["content"] == MAIL


def test_a_second_run_buys_nothing(tmp_path: Path) -> None:
    with TeacherServer() as server:
        for _ in range(2):
            run_stage(tmp_path, config_for(server), [record(Message("user", f"to {MAIL}"))])
        assert len(server.bodies) == 1


def test_every_turn_of_a_conversation_has_the_same_placeholders(tmp_path: Path) -> None:
    said = Record(
        "r",
        "conversation",
        (
            Message("user", f"I am {MAIL}"),
            Message("assistant", "hello"),
            Message("user", f"and {PHONE}, not bob@x.org; {MAIL}"),
        ),
    )
    with TeacherServer() as server:
        config = config_for(server, task="conversation", generate={"conversation": "relabel"})
        run_stage(tmp_path, config, [said])
        turns = [[m["content"] for m in body["messages"]] for body in server.bodies]
    assert turns == [
        ["I am [EMAIL_1]"],
        ["I am [EMAIL_1]", "echo I am [EMAIL_1]", "and [PHONE_1], not [EMAIL_2]; [EMAIL_1]"],
    ]
    (row,) = rows_of(tmp_path)
    assert row["messages"][1]["content"] == f"echo I am {MAIL}"


def test_a_judge_and_a_second_teacher_are_asked_with_masked_text(tmp_path: Path) -> None:
    with TeacherServer() as server:
        other = {"model": "large", "base_url": server.url, "max_retries": 0}
        ensemble = {"strategy": "judge", "others": [other], "judge": other}
        config = config_for(server, ensemble=ensemble, generate={"min_ok": 0.0})
        run_stage(tmp_path, config, [record(Message("user", f"to {MAIL}"))])
        assert {body["model"] for body in server.bodies} == {"tiny", "large"}
        assert MAIL not in json.dumps(server.bodies)


def test_a_request_without_personal_data_is_the_same_object() -> None:
    request = Request("m", (Message("user", "hello 42"),), Sampling())
    assert masked(request, "US") == (request, {})
    assert masked(request, "US")[0] is request


def test_signals_of_masked_text_are_refused_or_not_chosen(tmp_path: Path) -> None:
    from tests.tiny import make_tiny_model

    make_tiny_model(tmp_path / "student")
    student = {"model": str(tmp_path / "student")}
    with TeacherServer() as server:
        teacher = {"model": "tiny", "base_url": server.url, "top_logprobs": 5}
        teacher["tokenizer"] = str(tmp_path / "student")
        config = config_for(server, teacher=teacher, student=student)
        choice = choose(config)
        assert [part.kind for part in choice.config.finetune.objective] == ["cross_entropy"]
        assert "data.privacy masks" in choice.why
        asked = {"objective": [{"kind": "forward_kl"}]}
        with pytest.raises(ConfigError, match=r"data\.privacy masks"):
            choose(config_for(server, teacher=teacher, student=student, finetune=asked))


def test_refuse_sends_nothing_personal_whatever_was_looked_through(tmp_path: Path) -> None:
    with TeacherServer() as server:
        config = config_for(server, "refuse", generate={"min_ok": 0.0})
        records = [
            Record(str(n), "generic", (Message("user", text),))
            for n, text in enumerate(["plain", f"{MAIL} and {PHONE}"])
        ]
        run_stage(tmp_path, config, records)
        assert [body["messages"][0]["content"] for body in server.bodies] == ["plain"]
    (reject,) = rows_of(tmp_path, "rejects")
    assert reject["reason"] == "not sent, it holds EMAIL, PHONE"


def masking(config: Config) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update={"privacy": "mask"})})


def test_batches_hold_masked_text_and_the_pass_finds_their_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "FIRST_POLL_S", 0.01)
    monkeypatch.setattr(remote, "LAST_POLL_S", 0.01)
    monkeypatch.setattr(openai_files, "FILE_POLL_S", 0.01)
    with BatchServer() as server:
        config = masking(batch_life.config_for(tmp_path, "openai", server.home))
        life = batch_life.run(config, tmp_path / "store", batch_life.rows(f"to {MAIL}", "plain"))
        sent = b"".join(content for _, content in server.files.values()).decode()
        assert MAIL not in sent and "to [EMAIL_1]" in sent
        assert server.done and not server.online
    assert MAIL in life.texts[0]
    assert MAIL.encode() not in stored_bytes(tmp_path)


def test_a_probe_sends_masked_text_and_counts_as_bought(tmp_path: Path) -> None:
    with word_server() as server:
        rows = [{"prompt": f"to {MAIL} {number}"} for number in range(3)]
        config = masking(estimated.job(tmp_path, server, rows))
        found = estimated.probe(tmp_path, config, 3)
        assert sum(server.asked.values()) == 3
        assert all("to [EMAIL_1]" in prompt for prompt in server.asked)
    assert place(found).stored == 3  # found under the key of the masked question
