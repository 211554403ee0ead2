"""Paid answers from files: a run asks a real server for the rest only."""

import json
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import Config, build_config
from mwalimu.data.dataset import open_dataset
from mwalimu.data.formats import Exchange
from mwalimu.data.formats.source import open_source
from mwalimu.errors import ConfigError, DataError
from mwalimu.run import Run
from mwalimu.synthesis.generate import generate
from mwalimu.synthesis.importing import as_anthropic, as_openai, completion_of, import_answers
from mwalimu.teachers.base import Completion, Usage
from tests.synthesis.teacher_server import TeacherServer, completion

ANTHROPIC = {
    "content": [{"type": "text", "text": "paid"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 4, "output_tokens": 2},
}
CONVERSE = {
    "output": {"message": {"role": "assistant", "content": [{"text": "paid"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 4, "outputTokens": 2},
}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def asked(prompt: str, **fields: Any) -> dict[str, Any]:
    body = {"model": "tiny", "temperature": 0.0, "messages": [{"role": "user", "content": prompt}]}
    return body | fields


def pair(prompt: str, answer: Any = None, **fields: Any) -> dict[str, Any]:
    return {"request": asked(prompt, **fields), "response": answer or completion("paid")}


def config_of(folder: Path, url: str, **teacher: Any) -> Config:
    raw = {
        "task": "generic",
        "data": {"train": "p.jsonl"},
        "teacher": {"model": "tiny", "base_url": url} | teacher,
        "student": {"model": "none"},
    }
    return build_config(raw, base=folder)


def take_in(config: Config, path: Path, store: Path, **named: Any) -> dict[str, Any]:
    requests = named.pop("requests", None)
    source = open_source(path, requests=requests)
    return import_answers(config, source, store, **named).to_json()


def answers(config: Config, folder: Path) -> list[str]:
    run = Run(folder / "run")
    assert config.data.train is not None
    train = open_dataset(config.data.train, task="generic", split="train")
    generate(
        config, run, folder / "s", train, None, stage_fingerprint="f", on_progress=lambda *_: None
    )
    lines = run.path("generate", "train.jsonl").read_text().splitlines()
    return [json.loads(line)["messages"][-1]["content"] for line in lines]


def test_a_run_buys_only_what_the_log_does_not_have(tmp_path: Path) -> None:
    write(tmp_path / "p.jsonl", {"prompt": "old"}, {"prompt": "new"})
    path = write(tmp_path / "log.jsonl", pair("old"), pair("other"))
    with TeacherServer() as server:
        config = config_of(tmp_path, server.url)
        kept = {"rows": 2, "kept": 2, "known": 0, "left_out": {}}
        assert take_in(config, path, tmp_path / "s") == kept
        assert take_in(config, path, tmp_path / "s") == kept | {"kept": 0, "known": 2}
        assert not server.asked  # importing asks nobody
        assert answers(config, tmp_path) == ["paid", "echo new"]
        assert dict(server.asked) == {"new": 1}
    ledger = json.loads((tmp_path / "run/generate/ledger.json").read_text())
    assert ledger["answers_reused"] == 1
    assert ledger["spent"]["answers"] == 1  # what was bought elsewhere is on no account of ours


def test_results_of_a_batch(tmp_path: Path) -> None:
    write(tmp_path / "p.jsonl", {"prompt": "old"})
    requests = write(tmp_path / "in.jsonl", {"custom_id": "a", "body": asked("old")})
    line = {"custom_id": "a", "response": {"status_code": 200, "body": completion("paid")}}
    path = write(tmp_path / "out.jsonl", line)
    with TeacherServer() as server:
        config = config_of(tmp_path, server.url)
        assert take_in(config, path, tmp_path / "s", requests=requests)["kept"] == 1
        assert answers(config, tmp_path) == ["paid"]
        assert not server.asked


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (pair("old", ANTHROPIC, model="claude"), "claude"),
        (
            {
                "schemaType": "ModelInvocationLog",
                "modelId": "anthropic.claude",
                "operation": "Converse",
                "input": {
                    "inputBodyJson": {
                        "messages": [{"role": "user", "content": [{"text": "old"}]}],
                        "inferenceConfig": {"temperature": 0},
                    }
                },
                "output": {"outputBodyJson": CONVERSE},
            },
            "anthropic.claude",
        ),
    ],
)
def test_answers_in_another_dialect(tmp_path: Path, row: Any, name: str) -> None:
    """They are written as the job's own teacher would have written them."""
    write(tmp_path / "p.jsonl", {"prompt": "old"})
    path = write(tmp_path / "log.jsonl", row)
    with TeacherServer() as server:
        config = config_of(tmp_path, server.url)
        assert take_in(config, path, tmp_path / "s", model=name)["kept"] == 1
        assert answers(config, tmp_path) == ["paid"]
        assert not server.asked
    ledger = json.loads((tmp_path / "run/generate/ledger.json").read_text())
    assert ledger["tokens"] == {"prompt": 4, "completion": 2}


def test_an_openai_answer_for_anthropic(tmp_path: Path) -> None:
    config = config_of(tmp_path, "http://localhost:1", kind="anthropic")
    path = write(tmp_path / "log.jsonl", pair("old"))
    assert take_in(config, path, tmp_path / "s")["kept"] == 1


CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":"sky"}'}}


@pytest.mark.parametrize(
    "completion_",
    [
        Completion("Yes.", "stop", Usage(9, 3, 4), "m"),
        Completion("Yes.", "stop", Usage(9, 3), "m", reasoning="It rains."),
        Completion("", "stop", Usage(9, 3), "m", tool_calls=(CALL,)),
        Completion("So.", "stop", Usage(9, 3), "m", tool_calls=(CALL, CALL)),
    ],
)
def test_a_dialect_loses_nothing(completion_: Completion) -> None:
    for write_as, wire in ((as_openai, "openai"), (as_anthropic, "anthropic")):
        said = json.loads(json.dumps(write_as(completion_)))
        assert completion_of(Exchange({}, "m", said, wire, {})) == completion_


def test_blocks_of_converse() -> None:
    blocks = [
        {"reasoningContent": {"reasoningText": {"text": "Hm."}}},
        {"text": "So."},
        {"toolUse": {"toolUseId": "c1", "name": "look", "input": {"at": "sky"}}},
        {"cachePoint": {}},
    ]
    said = CONVERSE | {"output": {"message": {"content": blocks}}, "stopReason": "tool_use"}
    found = completion_of(Exchange({}, "m", said, "converse", {}))
    assert (found.text, found.reasoning, found.tool_calls) == ("So.", "Hm.", (CALL,))
    assert found.finish_reason == "stop"


UNLIKE = [
    (pair("a", model="large", answer=completion("x") | {"model": "large"}), "model is 'large'"),
    (pair("b", temperature=0.7), "temperature was 0.7, teacher.temperature is 0"),
    (pair("c", temperature=None), "temperature was 1, teacher.temperature is 0"),
    (pair("d", top_p=0.5), "top_p was 0.5, teacher.top_p is 1"),
    (pair("g", completion(" ")), "the answer is empty"),
    (pair("e", completion("cut", finish_reason="length")), "the answer ended by length"),
]


def test_answers_that_the_job_would_not_have_got_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", *(row for row, _ in UNLIKE), pair("f", {"choices": [3]}))
    config = config_of(tmp_path, "http://localhost:1")
    found = take_in(config, path, tmp_path / "s")
    assert (found["rows"], found["kept"]) == (7, 0)
    for _, words in UNLIKE:
        assert any(words in reason for reason in found["left_out"]), words
    assert found["left_out"]["cannot be read"] == 1
    assert sum(found["left_out"].values()) == found["rows"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generate": {"chain_of_thought": True}}, "put the question otherwise"),
        ({"teacher": {"max_tokens": 3}}, "does not fit into teacher.max_tokens 3"),
        ({"teacher": {"top_logprobs": 2}}, "has no log-probs"),
        ({"teacher": {"stop": ["pai"]}}, "goes on behind a text of teacher.stop"),
    ],
)
def test_a_job_that_asks_otherwise(tmp_path: Path, changes: Any, words: str) -> None:
    path = write(tmp_path / "log.jsonl", pair("old"))
    raw = {
        "task": "generic",
        "data": {"train": "p.jsonl"},
        "teacher": {"model": "tiny", "base_url": "http://localhost:1"} | changes.get("teacher", {}),
        "student": {"model": "none"},
        "generate": changes.get("generate", {}),
    }
    found = take_in(build_config(raw, base=tmp_path), path, tmp_path / "s")
    assert found["kept"] == 0 and words in next(iter(found["left_out"]))


def test_files_and_jobs_that_do_not_fit(tmp_path: Path) -> None:
    config = config_of(tmp_path, "http://localhost:1")
    rows = write(tmp_path / "rows.jsonl", {"prompt": "x", "completion": "y"})
    with pytest.raises(ConfigError, match="in format mwalimu, which holds no paid answers"):
        take_in(config, rows, tmp_path / "s")
    broken = write(tmp_path / "broken.jsonl", {"request": {}, "response": {"choices": []}})
    with pytest.raises(DataError, match=r"broken\.jsonl:1: messages: must be a list"):
        take_in(config, broken, tmp_path / "s")
    raw = {"task": "generic", "data": {"train": "p"}, "teacher": {"model": "fake"}}
    fake = build_config(raw | {"student": {"model": "none"}}, base=tmp_path)
    log = write(tmp_path / "log.jsonl", pair("x"))
    with pytest.raises(ConfigError, match="teacher: is fake"):
        take_in(fake, log, tmp_path / "s")
