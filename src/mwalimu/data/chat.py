"""Chats as users write them, checked: roles, the order of the turns, tools, calls and results.

A call is kept as it was given. What a chat template wants of it is `tool_rendering`'s matter, so
that one row serves an OpenAI server (arguments as text) and a template (arguments as an object).
"""

from __future__ import annotations

from typing import Any

import orjson

from mwalimu.data.record import Json, Message, Role

ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
ORDER = "order the turns: system (optional), user, assistant, user, ...; tool turns follow a call"


class BadValue(Exception):
    """One field is not usable: which one, why, what to do."""

    def __init__(self, field: str, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.field, self.problem, self.fix = field, problem, fix


def check_messages(value: Any) -> list[Message]:
    """A chat: an optional system turn, then user and assistant in turn, user first.

    An assistant turn with `tool_calls` is followed by one or more tool turns, then by an assistant
    turn. Raises `BadValue`.
    """
    if not isinstance(value, list) or not value:
        raise BadValue("messages", "must be a list with at least one message", "add a user turn")
    messages = [_message(item, f"messages[{index}]") for index, item in enumerate(value)]
    expected: tuple[Role, ...] = ("user",)
    called: frozenset[str] = frozenset()
    for index, message in enumerate(messages):
        if index == 0 and message.role == "system":
            continue
        if message.role not in expected:
            wanted = " or ".join(map(repr, expected))
            problem = f"is {message.role!r} where {wanted} must stand"
            raise BadValue(f"messages[{index}].role", problem, ORDER)
        if message.role == "tool":
            _check_call_id(message, called, f"messages[{index}].tool_call_id")
        else:
            called = frozenset(str(call["id"]) for call in message.tool_calls if call.get("id"))
        expected = _successors(message)
    if messages[-1].role == "system":
        raise BadValue("messages", "has only a system turn", "add a user turn")
    return messages


def check_tools(value: Any) -> tuple[Json, ...]:
    """Functions in OpenAI's form; None and an empty list are no tools. Raises `BadValue`."""
    if value is None:
        return ()
    if not isinstance(value, list):
        problem = f"is {type(value).__name__}, not a list"
        raise BadValue("tools", problem, "write a list of functions or leave it out")
    for index, tool in enumerate(value):
        where = f"tools[{index}]"
        if not isinstance(tool, dict) or tool.get("type") != "function":
            shape = '{"type": "function", "function": {"name": ..., "parameters": {...}}}'
            raise BadValue(where, "is no function", f"write {shape}")
        function = _function(tool, where)
        if not isinstance(function.get("parameters") or {}, dict):
            where = f"{where}.function.parameters"
            raise BadValue(where, "is no object", "write a JSON schema, or leave it out")
    return tuple(value)


def split_reference(messages: list[Message]) -> tuple[tuple[Message, ...], str | None]:
    """Takes a closing assistant turn off as the gold answer, which is one text.

    A gold answer that calls tools becomes the canonical JSON of its calls (name and arguments,
    sorted keys, no ids), below its text if it has any: something that can be compared.
    """
    last = messages[-1]
    if last.role != "assistant":
        return tuple(messages), None
    parts = [last.content] if last.content else []
    if last.tool_calls:
        parts.append(canonical_calls(last.tool_calls))
    return tuple(messages[:-1]), "\n".join(parts)


def canonical_calls(calls: tuple[Json, ...]) -> str:
    """`[{"arguments":{...},"name":...}]`: equal for equal calls, whatever their ids."""
    plain = [{"name": call["function"]["name"], "arguments": arguments_of(call)} for call in calls]
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS).decode()


def arguments_of(call: Json) -> Json:
    """A call's arguments as an object; OpenAI's servers write them as JSON text.

    Raises ValueError where they are neither.
    """
    arguments = call["function"].get("arguments")
    if isinstance(arguments, str):
        arguments = orjson.loads(arguments) if arguments.strip() else None
    if arguments is None:
        return {}
    if not isinstance(arguments, dict):
        raise ValueError("the arguments of a call are no object")
    return arguments


def text_value(value: Any, field: str, *, may_be_empty: bool = False) -> str:
    """`value` if it is a text. Raises `BadValue`."""
    if not isinstance(value, str):
        raise BadValue(field, f"is {type(value).__name__}, not a text", "write a text")
    if not value.strip() and not may_be_empty:
        raise BadValue(field, "is empty", "fill it in or remove the row")
    return value


def _successors(message: Message) -> tuple[Role, ...]:
    if message.role == "tool":
        return ("assistant", "tool")
    if message.role == "user":
        return ("assistant",)
    return ("tool",) if message.tool_calls else ("user",)


def _message(item: Any, where: str) -> Message:
    if not isinstance(item, dict):
        raise BadValue(where, "must be an object", 'write {"role": ..., "content": ...}')
    role = item.get("role")
    if role not in ROLES:
        raise BadValue(f"{where}.role", f"is {role!r}", f"use one of {', '.join(ROLES)}")
    content = item.get("content")
    if role == "tool":
        # A function that returns nothing has answered all the same.
        answer = text_value(content, f"{where}.content", may_be_empty=True)
        given = item.get("tool_call_id") or ""
        return Message(
            role, answer, (), text_value(given, f"{where}.tool_call_id", may_be_empty=True)
        )
    calls = _calls(item, role, where)
    if calls and (content is None or content == ""):
        return Message(role, "", calls)
    return Message(role, text_value(content, f"{where}.content"), calls)


def _calls(item: Json, role: str, where: str) -> tuple[Json, ...]:
    calls = item.get("tool_calls")
    if not calls:
        return ()
    field = f"{where}.tool_calls"
    if role != "assistant":
        raise BadValue(field, f"stands in a turn of role {role!r}", "only an assistant calls tools")
    if not isinstance(calls, list):
        raise BadValue(field, f"is {type(calls).__name__}, not a list", "write a list of calls")
    for index, call in enumerate(calls):
        _check_call(call, f"{field}[{index}]")
    return tuple(calls)


def _check_call(call: Any, where: str) -> None:
    if not isinstance(call, dict):
        raise BadValue(where, "is no call", 'write {"function": {"name": ..., "arguments": ...}}')
    _function(call, where)
    try:
        arguments_of(call)
    except ValueError:
        problem = "is neither an object nor the JSON of one"
        raise BadValue(f"{where}.function.arguments", problem, "write {...}") from None


def _function(value: Json, where: str) -> Json:
    function = value.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name.strip():
        raise BadValue(f"{where}.function.name", "is missing", "name the function")
    return function


def _check_call_id(message: Message, called: frozenset[str], field: str) -> None:
    """A result without an id belongs to the call at its place, if that has none either."""
    if called and message.tool_call_id not in called:
        problem = f"is {message.tool_call_id!r}, no call of the turn before"
        raise BadValue(field, problem, f"use one of {', '.join(sorted(called))}")
