"""What each format's rows mean, and what is said of rows that mean nothing: all in one pass."""

import json
from pathlib import Path
from typing import Any

import pytest

from mwalimu.data.dataset import load_records
from mwalimu.data.formats import checking, detect
from mwalimu.data.formats.checking import check
from mwalimu.data.formats.provider_bodies import joined_stream
from mwalimu.data.formats.source import open_source
from mwalimu.data.readers import BadRow
from mwalimu.data.record import Message
from mwalimu.data.shards import Shards
from mwalimu.errors import ConfigError, DataError

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it wet?"}]
ANSWER = {"role": "assistant", "content": "Yes."}
BLOCKS = [{"role": "user", "content": [{"text": "Is it "}, {"text": "wet?"}]}]
SAID = {"choices": [{"message": ANSWER, "finish_reason": "stop"}], "model": "m"}
CLAUDE = {"content": [{"type": "thinking", "thinking": "?"}, {"type": "text", "text": "Yes."}]}
CONVERSE_IN = {"messages": BLOCKS, "system": [{"text": "Be brief."}]}
CONVERSE_OUT = {"output": {"message": {"role": "assistant", "content": [{"text": "Yes."}]}}}
CLAUDE_IN = {
    "anthropic_version": "bedrock-2023-05-31",
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Is it wet?"}],
}
CALL = {"name": "look", "arguments": {"at": "sky"}}


STREAM = [
    {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 4}}},
    {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Ye"}},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "s."}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]


def log(model_input: Any, output: Any) -> dict[str, Any]:
    return {
        "schemaType": "ModelInvocationLog",
        "schemaVersion": "1.0",
        "modelId": "m",
        "operation": "Converse",
        "requestId": "a",
        "input": {"inputBodyJson": model_input},
        "output": {"outputBodyJson": output},
    }


def write(folder: Path, *rows: Any, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


GOOD: dict[str, list[dict[str, Any]]] = {
    "mwalimu": [{"id": "a", "messages": [*ASKED, ANSWER]}],
    "openai": [
        {"messages": [*ASKED, ANSWER | {"weight": 1}]},
        {"messages": [{"role": "developer", "content": "Be brief."}, ASKED[1], ANSWER]},
        {
            "messages": [
                ASKED[0],
                {"role": "user", "content": [{"type": "text", "text": "Is it wet?"}]},
                ANSWER,
            ]
        },
    ],
    "bedrock": [
        {
            "schemaVersion": "bedrock-conversation-2024",
            "system": [{"text": "Be brief."}],
            "messages": [*BLOCKS, {"role": "assistant", "content": [{"text": "Yes."}]}],
        }
    ],
    "sharegpt": [
        {
            "system": "Be brief.",
            "conversations": [
                {"from": "human", "value": "Is it wet?"},
                {"from": "gpt", "value": "Yes."},
            ],
        },
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "user", "value": "Is it wet?"},
                {"from": "assistant", "value": "Yes."},
            ]
        },
    ],
    "alpaca": [
        {"system": "Be brief.", "instruction": "Is it wet?", "input": "", "output": "Yes."},
    ],
    "log": [
        {"request": {"model": "m", "messages": ASKED}, "response": SAID},
        {"request": {"body": {"messages": ASKED}}, "response": {"status_code": 200, "body": SAID}},
        {"request": CLAUDE_IN, "response": CLAUDE},
    ],
    "bedrock-log": [log(CONVERSE_IN, CONVERSE_OUT), log(CLAUDE_IN, CLAUDE), log(CLAUDE_IN, STREAM)],
}
CASES = [
    pytest.param(name, row, id=f"{name}-{number}")
    for name, rows in GOOD.items()
    for number, row in enumerate(rows)
]


@pytest.mark.parametrize(("name", "row"), CASES)
def test_the_format_is_found_and_says_the_same(tmp_path: Path, name: str, row: Any) -> None:
    path = write(tmp_path, row)
    assert detect(Shards(path)).name == name
    (record,) = load_records(path, task="qa", split="train")  # as data.train is read
    assert record.messages == (Message("system", "Be brief."), Message("user", "Is it wet?"))
    assert (record.reference, record.task) == ("Yes.", "qa")


def test_a_stream_adds_up() -> None:
    assert joined_stream(STREAM) == {
        "model": "m",
        "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "Yes."}],
        "usage": {"input_tokens": 4, "output_tokens": 2},
    }


def test_chat_rows_of_both_kinds_in_one_file(tmp_path: Path) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "wet?"}]}]
    path = write(
        tmp_path,
        {"messages": [*ASKED, ANSWER]},
        {"id": "b", "task": "nli", "messages": parts, "metadata": {"k": 1}},
        {"prompt": "dry?"},
    )
    first, second, third = load_records(path, task="qa", split="train")
    assert (first.id, first.reference) == ("train-000001", "Yes.")
    assert (second.id, second.task, second.metadata) == ("b", "nli", {"k": 1})
    assert second.messages == (Message("user", "wet?"),)
    assert third.messages == (Message("user", "dry?"),)


def test_tools_in_sharegpt(tmp_path: Path) -> None:
    turns = [
        {"from": "human", "value": "Is it wet?"},
        {"from": "function_call", "value": json.dumps(CALL)},
        {"from": "observation", "value": "rain"},
        {"from": "gpt", "value": "Yes."},
    ]
    tools = json.dumps([{"name": "look", "parameters": {}}])
    path = write(tmp_path, {"conversations": turns, "tools": tools})
    (record,) = load_records(path, task="generic", split="train")
    assert [m.role for m in record.messages] == ["user", "assistant", "tool"]
    assert record.messages[1].tool_calls == ({"type": "function", "function": CALL},)
    assert record.tools == ({"type": "function", "function": {"name": "look", "parameters": {}}},)
    assert record.reference == "Yes."


def test_alpaca_with_input_and_history(tmp_path: Path) -> None:
    row = {"instruction": "Add.", "input": "1, 2", "output": "3", "history": [["Hi", "Hello"]]}
    (record,) = load_records(write(tmp_path, row), task="generic", split="train")
    assert [m.content for m in record.messages] == ["Hi", "Hello", "Add.\n1, 2"]


HUMAN = {"from": "human", "value": "a b"}
BAD = [
    ("sharegpt", {"conversations": []}, "conversations", "at least one item"),
    ("sharegpt", {"conversations": [HUMAN, HUMAN]}, "conversations[1].from", "'user' where"),
    (
        "sharegpt",
        {"conversations": [{"from": "owl", "value": "x"}]},
        "conversations[0].from",
        "owl",
    ),
    ("sharegpt", {"conversations": [{"from": "human"}]}, "conversations[0].value", "not a text"),
    ("sharegpt", {"conversations": ["x"]}, "conversations[0]", "no object"),
    ("sharegpt", {"conversations": [HUMAN], "tools": "{"}, "tools", "no JSON"),
    (
        "sharegpt",
        {"conversations": [HUMAN, {"from": "function_call", "value": "look()"}]},
        "conversations[1].value",
        "no JSON of a call",
    ),
    ("sharegpt", {"conversations": [HUMAN], "system": 3}, "system", "not a text"),
    ("alpaca", {"instruction": "", "output": "x"}, "instruction", "is empty"),
    ("alpaca", {"instruction": "a", "history": "x"}, "history", "not a list"),
    ("alpaca", {"instruction": "a", "history": [["x"]]}, "history[0]", "no pair"),
    ("alpaca", {"instruction": "a", "output": 3}, "output", "not a text"),
    ("bedrock", {"schemaVersion": "2023", "messages": BLOCKS}, "schemaVersion", "'2023'"),
    ("bedrock", {"schemaVersion": "bedrock-conversation-2024"}, "messages", "at least one item"),
    (
        "bedrock",
        {
            "schemaVersion": "bedrock-conversation-2024",
            "messages": [{"role": "user", "content": [{"image": {"format": "png"}}]}],
        },
        "messages[0].content[0]",
        "'image', not text",
    ),
    ("openai", {"messages": ["x"]}, "messages[0]", "no object"),
    (
        "openai",
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "messages[0].content[0]",
        "'image_url', not text",
    ),
    ("openai", {"messages": [ASKED[1], ASKED[1]]}, "messages[1].role", "'assistant' must stand"),
    ("log", {"request": {"messages": ASKED}, "response": 3}, "response", "no object"),
    ("log", {"request": {"messages": ASKED}, "response": {}}, "response", "neither 'choices'"),
    (
        "log",
        {"request": {"messages": ASKED}, "response": {"status_code": 429, "body": {}}},
        "response",
        "status 429",
    ),
    ("log", {"request": {}, "response": SAID}, "messages", "at least one item"),
    ("bedrock-log", log(None, CONVERSE_OUT), "input.inputBodyJson", "not in the log"),
    ("bedrock-log", log({"texts": ["x"]}, {}), "input.inputBodyJson", "no text conversation"),
    (
        "bedrock-log",
        log(CONVERSE_IN, {"output": {"message": {"content": []}}}),
        "answer",
        "has no text",
    ),
]


@pytest.mark.parametrize("name", sorted({case[0] for case in BAD}))
def test_every_bad_row_is_named_with_its_field(tmp_path: Path, name: str) -> None:
    cases = [case for case in BAD if case[0] == name]
    source = open_source(write(tmp_path, *(row for _, row, _, _ in cases)), name=name)
    found = [problem for _, problem in source.records()]
    assert all(isinstance(problem, BadRow) for problem in found)
    for line, (problem, (_, _, field, words)) in enumerate(zip(found, cases, strict=True), 1):
        assert isinstance(problem, BadRow)
        assert (problem.line, problem.field) == (line, field)
        assert words in problem.problem and problem.fix
    path = write(tmp_path, GOOD[name][0], *(row for _, row, _, _ in cases))
    with pytest.raises(DataError) as caught:
        load_records(path, task="qa", split="train")
    assert str(caught.value).startswith(f"{tmp_path / 'rows.jsonl'}: {len(cases)} row")


def test_a_system_text_beside_a_system_turn(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": "a", "messages": ASKED, "system": "Be long."})
    with pytest.raises(DataError, match=r"rows\.jsonl:1: system: stands beside a system turn"):
        load_records(path, task="qa", split="train")


def batch_line(identifier: str, **fields: Any) -> dict[str, Any]:
    response = {"status_code": 200, "body": SAID}
    return {"id": "b", "custom_id": identifier, "response": response, "error": None} | fields


def test_results_of_a_batch_are_joined_with_their_requests(tmp_path: Path) -> None:
    asked = [{"custom_id": f"q{i}", "body": {"model": "m", "messages": ASKED}} for i in range(3)]
    requests = write(tmp_path, *asked, name="in.jsonl")
    failed = {"response": None, "error": {"code": "batch_expired", "message": "too late"}}
    results = write(
        tmp_path, batch_line("q2"), batch_line("q1", **failed), batch_line("q9"), name="out.jsonl"
    )
    source = open_source(results, requests=requests)
    assert source.format.name == "openai-batch"
    good, late, unknown = [record for _, record in source.records()]
    assert not isinstance(good, BadRow) and (good.id, good.reference) == ("q2", "Yes.")
    assert isinstance(late, BadRow) and "too late" in late.problem
    assert isinstance(unknown, BadRow) and "'q9' is not in --requests" in unknown.problem
    (_, alone), *_ = open_source(results).records()
    assert isinstance(alone, BadRow) and "--requests" in alone.fix
    with pytest.raises(ConfigError, match="is for results of batches"):
        open_source(write(tmp_path, GOOD["alpaca"][0]), requests=requests)


def test_results_of_anthropic(tmp_path: Path) -> None:
    asked = {"custom_id": "q", "params": {"model": "claude", **CLAUDE_IN}}
    requests = write(tmp_path, asked, name="in.jsonl")
    succeeded = {"custom_id": "q", "result": {"type": "succeeded", "message": CLAUDE}}
    errored = {"custom_id": "q", "result": {"type": "errored", "error": {}}}
    source = open_source(write(tmp_path, succeeded, errored), requests=requests)
    assert source.format.name == "anthropic-batch"
    (_, good), (_, bad) = source.records()
    assert not isinstance(good, BadRow) and good.reference == "Yes."
    assert isinstance(bad, BadRow) and "errored" in bad.problem


AZURE_BAD: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"messages": ASKED}, []),
    ({}, [("messages", "at least one message")]),
    ({"messages": [ASKED[1]]}, [("messages[0].role", "'system' first")]),
    ({"messages": [*ASKED, ANSWER]}, [("messages", "3 messages for task nli")]),
    (
        {"messages": [{"role": "robot", "content": ""}, {"role": "user"}, 3]},
        [
            ("messages[0].role", "'robot'"),
            ("messages[0].content", "is empty"),
            ("messages[1].content", "is missing"),
            ("messages[2]", "must be an object"),
            ("messages", "3 messages"),
        ],
    ),
    ({"messages": [ASKED[0], ANSWER]}, [("messages[1].role", "before any user turn")]),
    (
        {"messages": [ASKED[0], ASKED[1], ASKED[1]]},
        [("messages[2].role", "'user' after 'user'"), ("messages", "3 messages")],
    ),
]


def test_azure_names_every_problem_of_every_row(tmp_path: Path) -> None:
    path = write(tmp_path, *(row for row, _ in AZURE_BAD))
    found = check(open_source(path, task="nli", name="azure"))
    for line, (_, wanted) in enumerate(AZURE_BAD, 1):
        given = {p.field: p.problem for p in found.problems if p.line == line}
        for field, words in wanted:
            assert words in given[field], (line, field)
        assert len(given) >= len(wanted) and bool(given) == bool(wanted)
    last = found.problems[-1]
    assert (last.line, last.problem) == (0, "has 7 rows, Azure wants 65 at least")
    assert found.shards.told(last) == f"{path}: {last.problem}; add rows"


@pytest.mark.parametrize(
    ("task", "turns", "problem"),
    [
        ("conversation", [*ASKED, ANSWER], ""),
        ("conversation", ASKED, "has 2 messages"),
        ("conversation", [*ASKED, ANSWER, ASKED[1]], "no answer"),
        ("math", ASKED, ""),
        ("summarization", [*ASKED, ANSWER], "3 messages"),
    ],
)
def test_azure_by_task(tmp_path: Path, task: str, turns: Any, problem: str) -> None:
    path = write(tmp_path, *[{"messages": turns}] * (40 if task == "math" else 65))
    found = check(open_source(path, task=task, name="azure"))
    assert found.found == (65 if problem else 0)
    assert all(problem in one.problem for one in found.problems)


def test_rules_of_openai_and_bedrock(tmp_path: Path) -> None:
    path = write(tmp_path, {"messages": ASKED, "note": 1})
    found = check(open_source(path, name="openai"))
    assert [(p.line, p.field) for p in found.problems] == [
        (1, "messages[1].role"),
        (1, "note"),
        (0, ""),
    ]
    turns = [*BLOCKS, {"role": "assistant", "content": [{"text": "x"}]}, *BLOCKS]
    row = {"schemaVersion": "bedrock-conversation-2024", "messages": turns}
    (problem,) = check(open_source(write(tmp_path, row))).problems
    assert "only Nova" in problem.problem


def test_more_problems_than_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "KEPT", 3)
    path = write(
        tmp_path, *[{"prompt": ""}] * 5, {"prompt": "a", "id": "x"}, {"prompt": "b", "id": "x"}
    )
    found = check(open_source(path))
    assert (found.rows, found.found, len(found.problems)) == (7, 6, 3)
    monkeypatch.setattr(checking, "KEPT", 10)
    assert check(open_source(path)).problems[-1].problem == "'x' is also the id of line 6"


def test_no_rows_and_no_format(tmp_path: Path) -> None:
    empty = write(tmp_path)
    assert check(open_source(empty)).problems[0].problem == "has no rows"
    with pytest.raises(ConfigError, match="'azur' is no format; one of"):
        open_source(empty, name="azur")
