"""Chats with tools, put into the form that one tokenizer's chat template renders.

A template that does not know tools does not complain: transformers hands them over and they vanish
from the text, as do calls. A student would then learn to call functions that its prompt never
named. So each template is tried once with a small chat, and what it drops is written as text:
the tools as a JSON list below the system turn, a call in its own turn, a result as a user turn.

Arguments reach a template as an object, which is transformers' convention; a template that joins
them to text gets them as JSON text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from mwalimu.data.chat import arguments_of
from mwalimu.data.record import Json
from mwalimu.data.tool_text import calls_text, result_text, tools_text

Chat = list[Json]
Render = Callable[[Chat, Sequence[Json]], str]

_NAME, _KEY, _VALUE, _RESULT = "mwalimu_name", "mwalimu_key", "mwalimu_value", "mwalimu_result"
_ID = "mwalimu01"  # Mistral's templates want nine letters or digits
_ASKED: Json = {"role": "user", "content": "?"}


@dataclass(frozen=True, slots=True)
class ToolSupport:
    """What a template renders by itself; `text_arguments`: it wants them as JSON text."""

    tools: bool
    calls: bool
    results: bool
    text_arguments: bool


def find_support(render: Render) -> ToolSupport:
    """Tries a template out; `render` may raise anything."""
    parameters = {"type": "object", "properties": {_KEY: {"type": "string"}}}
    function = {"name": _NAME, "description": "?", "parameters": parameters}
    tools = _NAME in _try(render, [_ASKED], [{"type": "function", "function": function}])
    as_object = _try(render, [_ASKED, _probe_call(text=False)], [])
    calls = _VALUE in as_object and f"'{_KEY}'" not in as_object  # Python's own spelling of a dict
    text_arguments = False
    if not calls:
        as_text = _try(render, [_ASKED, _probe_call(text=True)], [])
        calls = text_arguments = _VALUE in as_text and f'\\"{_KEY}' not in as_text
    support = ToolSupport(tools, calls, True, text_arguments)
    answered = {"role": "tool", "content": _RESULT, "tool_call_id": _ID}
    chat, _ = adapt([_ASKED, _probe_call(text=False), answered], [], support)
    return ToolSupport(tools, calls, _RESULT in _try(render, chat, []), text_arguments)


def adapt(
    messages: Sequence[Json], tools: Sequence[Json], support: ToolSupport
) -> tuple[Chat, list[Json]]:
    """The chat and the tools to hand to the template; `messages` stay as they are."""
    chat: Chat = []
    names: list[tuple[str, str]] = []
    for message in messages:
        calls = message.get("tool_calls") or ()
        if calls:
            names = [(str(call.get("id") or ""), call["function"]["name"]) for call in calls]
        if message["role"] == "tool":
            _add_result(chat, message, names, support)
        elif calls:
            chat.append(_with_calls(message, support))
        else:
            chat.append({key: value for key, value in message.items() if key != "tool_calls"})
    if tools and not support.tools:
        return _with_tools(chat, tools), []
    return chat, list(tools)


def _try(render: Render, chat: Chat, tools: Sequence[Json]) -> str:
    try:
        return render(chat, tools)
    except Exception:  # a template is a program: what it cannot render may fail in any way
        return ""


def _probe_call(*, text: bool) -> Json:
    arguments: Any = {_KEY: _VALUE}
    if text:
        arguments = orjson.dumps(arguments).decode()
    call = {"id": _ID, "type": "function", "function": {"name": _NAME, "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def _with_calls(message: Json, support: ToolSupport) -> Json:
    content = message.get("content") or ""
    if not support.calls:
        parts = [content] if content else []
        parts.append(calls_text(message["tool_calls"]))
        return {"role": "assistant", "content": "\n".join(parts)}
    calls = [_native(call, support) for call in message["tool_calls"]]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def _native(call: Json, support: ToolSupport) -> Json:
    arguments: Any = arguments_of(call)
    if support.text_arguments:
        arguments = orjson.dumps(arguments).decode()
    return {"type": "function"} | call | {"function": call["function"] | {"arguments": arguments}}


def _add_result(
    chat: Chat, message: Json, names: list[tuple[str, str]], support: ToolSupport
) -> None:
    """Appends a result; without support, all results of a turn share one user turn.

    Some templates want the function's name, which a result does not carry: it is its call's, by
    id or, without ids, by place.
    """
    if not support.results:
        text = result_text(message["content"])
        if chat and chat[-1]["role"] == "user":
            chat[-1]["content"] += f"\n{text}"
        else:
            chat.append({"role": "user", "content": text})
        return
    place = 0
    while place < len(chat) and chat[-1 - place]["role"] == "tool":
        place += 1
    result: Json = {"role": "tool", "content": message["content"]}
    identifier = message.get("tool_call_id") or ""
    by_id = [name for id_, name in names if identifier and id_ == identifier]
    if identifier:
        result["tool_call_id"] = identifier
    if by_id or place < len(names):
        result["name"] = by_id[0] if by_id else names[place][1]
    chat.append(result)


def _with_tools(chat: Chat, tools: Sequence[Json]) -> Chat:
    text = tools_text(tools)
    if chat and chat[0]["role"] == "system":
        return [chat[0] | {"content": f"{chat[0]['content']}\n\n{text}"}, *chat[1:]]
    return [{"role": "system", "content": text}, *chat]
