"""ShareGPT: `{"conversations": [{"from": "human", "value": ...}, ...]}`.

With the roles that LLaMA-Factory added for tools: `function_call`, whose value is the call as JSON,
and `observation`, its result.
"""

from __future__ import annotations

from typing import Any

import orjson

from mwalimu.data.chat import BadValue, arguments_of
from mwalimu.data.formats.base import (
    Format,
    Names,
    Written,
    list_of,
    not_held,
    object_of,
    text_of,
)
from mwalimu.data.record import Json, Message, Record

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "system": "system",
    "observation": "tool",
    "tool": "tool",
    "function_call": "assistant",
}
_SPEAKERS = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}


def _read(row: Json) -> Json:
    native: Json = {
        "messages": [
            _turn(item, f"conversations[{index}]")
            for index, item in enumerate(list_of(row.get("conversations"), "conversations"))
        ]
    }
    if row.get("system"):
        native["system"] = text_of(row["system"], "system")
    if row.get("tools"):
        native["tools"] = _tools(row["tools"])
    return native | {key: row[key] for key in ("id", "task", "metadata") if key in row}


def _turn(item: Any, where: str) -> Json:
    turn = object_of(item, where)
    speaker, said = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
    role = ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise BadValue(f"{where}.from", f"is {speaker!r}", f"use one of {', '.join(ROLES)}")
    text = text_of(said, f"{where}.value", may_be_empty=role == "tool")
    if speaker == "function_call":
        return {"role": role, "content": "", "tool_calls": _calls(text, f"{where}.value")}
    return {"role": role, "content": text}


def _calls(text: str, field: str) -> list[Json]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise BadValue(field, "is no JSON of a call", 'write {"name", "arguments"}') from None
    calls = found if isinstance(found, list) else [found]
    return [{"type": "function", "function": call} for call in calls]


def _tools(value: Any) -> Any:
    """Often the JSON text of a list, of functions without what OpenAI puts around them."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise BadValue("tools", "is no JSON", "write a list of functions") from None
    if not isinstance(value, list):
        return value
    bare = all(isinstance(tool, dict) and "function" not in tool for tool in value)
    return [{"type": "function", "function": tool} for tool in value] if bare else value


def _write(record: Record) -> Written:
    turns = [turn for message in record.messages for turn in _turns(message)]
    if record.reference is not None:
        turns.append({"from": "gpt", "value": record.reference})
    row: Json = {"id": record.id, "conversations": turns}
    if record.tools:
        row["tools"] = orjson.dumps([tool["function"] for tool in record.tools]).decode()
    beside = any(m.tool_calls and m.content for m in record.messages)
    lost = ("text beside a call",) if beside else ()
    return Written(row, (*not_held(record, "task", "metadata"), *lost))


def _turns(message: Message) -> list[Json]:
    """A turn is a text or calls, never both: beside calls the text goes."""
    if not message.tool_calls:
        return [{"from": _SPEAKERS[message.role], "value": message.content}]
    calls = [
        {"name": call["function"]["name"], "arguments": arguments_of(call)}
        for call in message.tool_calls
    ]
    value = orjson.dumps(calls[0] if len(calls) == 1 else calls).decode()
    return [{"from": "function_call", "value": value}]


SHAREGPT = Format(
    "sharegpt",
    "ShareGPT",
    detects=lambda row: "conversations" in row,
    read=_read,
    names=Names("conversations", "from", "value"),
    write=_write,
)
