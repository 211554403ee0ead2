"""The project's own rows, and the same chat as OpenAI's fine-tuning takes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mwalimu.data.formats.base import Format, Written, list_of, not_held, object_of, text_of
from mwalimu.data.readers import BadRow
from mwalimu.data.record import Json, Record

OWN_KEYS = {"messages", "tools", "parallel_tool_calls"}
MIN_ROWS = 10  # OpenAI's own limit for a fine-tuning file
_ROLES = {"developer": "system", "function": "tool"}


def _read_chat(row: Json) -> Json:
    """Whatever else is in the row stays: rows of both formats may stand in one file."""
    return row | read_messages(row) if isinstance(row.get("messages"), list) else row


def _write_own(record: Record) -> Written:
    return Written(record.to_json())


def _looks_like_openai(row: Json) -> bool:
    return isinstance(row.get("messages"), list) and row.keys() <= OWN_KEYS


def read_messages(row: Json) -> Json:
    """OpenAI's messages as ours: `developer` is `system`, parts are one text, old calls are calls.

    Raises BadValue.
    """
    turns = [
        _turn(item, f"messages[{index}]")
        for index, item in enumerate(list_of(row.get("messages"), "messages"))
    ]
    return {"messages": turns} | ({"tools": row["tools"]} if row.get("tools") else {})


def _turn(item: Any, where: str) -> Json:
    message = object_of(item, where)
    role = message.get("role")
    turn: Json = {"role": _ROLES.get(role, role) if isinstance(role, str) else role}
    calls = message.get("tool_calls")
    if not calls and isinstance(old := message.get("function_call"), dict):
        calls = [{"type": "function", "function": old}]
    if calls:
        turn["tool_calls"] = calls
    content = message.get("content")
    silent = content in (None, "") and bool(calls)
    empty = turn["role"] == "tool"
    turn["content"] = "" if silent else text_of(content, f"{where}.content", may_be_empty=empty)
    if message.get("tool_call_id"):
        turn["tool_call_id"] = message["tool_call_id"]
    return turn


def _write_openai(record: Record) -> Written:
    row = record.to_json()
    kept: Json = {key: row[key] for key in ("messages", "tools") if key in row}
    return Written(kept, not_held(record, "id", "task", "metadata"))


def _openai_rules(rows: Iterable[tuple[int, Json]], task: str) -> Iterator[BadRow]:
    count = 0
    for line, row in rows:
        count += 1
        messages = row.get("messages")
        last = messages[-1] if isinstance(messages, list) and messages else None
        if isinstance(last, dict) and last.get("role") != "assistant":
            problem = f"is {last.get('role')!r}, and fine-tuning learns from an assistant's turn"
            field = f"messages[{len(messages or ()) - 1}].role"
            yield BadRow(line, field, problem, "end the chat with the answer")
        for key in sorted(row.keys() - OWN_KEYS):
            yield BadRow(line, key, "is no field of this format", "leave it out")
    if count < MIN_ROWS:
        yield BadRow(0, "", f"has {count} rows, {MIN_ROWS} are needed", "add rows")


NATIVE = Format(
    "mwalimu",
    "mwalimu rows",
    detects=lambda row: bool({"messages", "prompt", "input"} & row.keys()),
    read=_read_chat,
    write=_write_own,
)
OPENAI = Format(
    "openai",
    "OpenAI chat fine-tuning",
    detects=_looks_like_openai,
    read=_read_chat,
    write=_write_openai,
    rules=_openai_rules,
)
