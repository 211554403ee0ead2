"""Chats with tools: what is read, what is refused and why, and what a gold call becomes."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mwalimu.data.chat import BadValue, check_messages, check_tools
from mwalimu.data.readers import to_record
from mwalimu.data.record import Message, Record
from mwalimu.data.shards import Shards

CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"b":2,"a":1}'}}
BARE = {"function": {"name": "now"}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
USER = {"role": "user", "content": "1+2"}
ASKS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
SAYS = {"role": "assistant", "content": "3"}
RESULT = {"role": "tool", "content": "3", "tool_call_id": "c1"}


def record(*messages: Any, **more: Any) -> Record:
    return to_record({"messages": list(messages), **more}, task="qa", default_id="r")


def test_calls_and_results_are_kept_as_they_were_given() -> None:
    read = record(USER, ASKS, RESULT, SAYS, tools=[TOOL])
    assert read.messages == (
        Message("user", "1+2"),
        Message("assistant", "", (CALL,)),
        Message("tool", "3", (), "c1"),
    )
    assert (read.reference, read.tools) == ("3", (TOOL,))
    row = read.to_json()
    assert row["messages"] == [USER, ASKS | {"content": ""}, RESULT, SAYS]
    assert to_record(row, task="", default_id="") == read


@pytest.mark.parametrize(
    "messages",
    [
        [USER, ASKS, RESULT],  # the teacher has to answer
        [USER, {"role": "assistant", "tool_calls": [CALL]}, RESULT, SAYS, USER],
        [USER, ASKS | {"content": "I add."}, RESULT, ASKS, RESULT, SAYS],
        [{"role": "system", "content": "s"}, USER, ASKS, RESULT, RESULT | {"content": ""}, SAYS],
        [USER, ASKS | {"tool_calls": [BARE]}, {"role": "tool", "content": "noon"}],
        [USER, SAYS | {"tool_calls": None, "tool_call_id": None}, USER],
        [USER, SAYS | {"tool_calls": []}, USER],
    ],
)
def test_good_orders(messages: list[Any]) -> None:
    assert [m.role for m in check_messages(messages)] == [m["role"] for m in messages]


@pytest.mark.parametrize(
    ("messages", "field", "problem"),
    [
        ([USER, ASKS, SAYS], "messages[2].role", "is 'assistant' where 'tool' must stand"),
        ([USER, ASKS, USER], "messages[2].role", "is 'user' where 'tool' must stand"),
        ([USER, RESULT], "messages[1].role", "is 'tool' where 'assistant' must stand"),
        ([RESULT], "messages[0].role", "is 'tool' where 'user' must stand"),
        (
            [USER, ASKS, RESULT, USER],
            "messages[3].role",
            "is 'user' where 'assistant' or 'tool' must stand",
        ),
        ([USER, SAYS, RESULT], "messages[2].role", "is 'tool' where 'user' must stand"),
        (
            [USER, ASKS, RESULT | {"tool_call_id": "c2"}],
            "messages[2].tool_call_id",
            "is 'c2', no call of the turn before",
        ),
        (
            [USER, ASKS, {"role": "tool", "content": "3"}],
            "messages[2].tool_call_id",
            "is '', no call of the turn before",
        ),
        ([USER, ASKS, RESULT | {"content": None}], "messages[2].content", "is NoneType, not a"),
        ([USER, ASKS, RESULT | {"tool_call_id": 3}], "messages[2].tool_call_id", "is int, not a"),
        ([USER | {"tool_calls": [CALL]}], "messages[0].tool_calls", "in a turn of role 'user'"),
        ([USER, SAYS | {"content": None}], "messages[1].content", "is NoneType, not a text"),
        ([USER, ASKS | {"tool_calls": CALL}], "messages[1].tool_calls", "is dict, not a list"),
        ([USER, ASKS | {"tool_calls": ["add"]}], "messages[1].tool_calls[0]", "is no call"),
        (
            [USER, ASKS | {"tool_calls": [CALL, {"name": "add"}]}],
            "messages[1].tool_calls[1].function.name",
            "is missing",
        ),
        (
            [USER, ASKS | {"tool_calls": [{"function": {"name": "add", "arguments": "[1]"}}]}],
            "messages[1].tool_calls[0].function.arguments",
            "is neither an object nor the JSON of one",
        ),
        (
            [USER, ASKS | {"tool_calls": [{"function": {"name": "add", "arguments": "{"}}]}],
            "messages[1].tool_calls[0].function.arguments",
            "is neither an object nor the JSON of one",
        ),
    ],
)
def test_bad_chats(messages: list[Any], field: str, problem: str) -> None:
    with pytest.raises(BadValue) as caught:
        check_messages(messages)
    assert caught.value.field == field and problem in caught.value.problem and caught.value.fix


@pytest.mark.parametrize(
    ("tools", "field", "problem"),
    [
        ("[]", "tools", "is str, not a list"),
        ([TOOL, "add"], "tools[1]", "is no function"),
        ([{"name": "add"}], "tools[0]", "is no function"),
        ([{"type": "function", "function": {}}], "tools[0].function.name", "is missing"),
        (
            [{"type": "function", "function": {"name": "add", "parameters": "none"}}],
            "tools[0].function.parameters",
            "is no object",
        ),
    ],
)
def test_bad_tools(tools: Any, field: str, problem: str) -> None:
    with pytest.raises(BadValue) as caught:
        record(USER, tools=tools)
    assert caught.value.field == field and problem in caught.value.problem and caught.value.fix


def test_no_tools_and_tools_beside_a_prompt() -> None:
    assert check_tools(None) == check_tools([]) == ()
    assert to_record({"prompt": "p", "tools": [TOOL]}, task="", default_id="r").tools == (TOOL,)


def test_a_gold_call_is_one_canonical_text() -> None:
    """The order of the arguments, their spelling and the calls' ids do not matter."""
    function = {"name": "add", "arguments": {"a": 1, "b": 2}}
    other = [ASKS | {"tool_calls": [{"function": function}]}]
    expected = '[{"arguments":{"a":1,"b":2},"name":"add"}]'
    assert record(USER, ASKS).reference == record(USER, *other).reference == expected
    both = record(USER, ASKS | {"content": "I add.", "tool_calls": [CALL, BARE]})
    assert both.reference == f'I add.\n{expected[:-1]},{{"arguments":{{}},"name":"now"}}]'
    assert both.messages == (Message("user", "1+2"),)


def test_parquet_reads_like_jsonl(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    note = {"type": "function", "function": {"name": "note", "description": "d"}}
    rows = [
        {"messages": [USER, ASKS, RESULT, SAYS], "tools": [tool, note]},
        {"messages": [USER, SAYS], "tools": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    read = [
        to_record(row, task="qa", default_id="r")
        for _, row in Shards(tmp_path / "rows.parquet").rows()
        if isinstance(row, dict)
    ]
    assert read == [to_record(row, task="qa", default_id="r") for row in rows]
    assert read[0].tools == (tool, note)
