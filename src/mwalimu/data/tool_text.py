"""Tools, calls and results as plain text, for chat templates that know nothing of them.

The form of a call is the one most open models are trained on, so that a teacher's own text and
what is rendered here are read alike.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import orjson

from mwalimu.data.chat import arguments_of
from mwalimu.data.record import Json

_BLOCK = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)


def tools_text(tools: Sequence[Json]) -> str:
    """What a system turn says of the tools: a JSON list, and how to call one."""
    listed = orjson.dumps(list(tools)).decode()
    form = '<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>'
    return f"You may call these functions:\n{listed}\nTo call one, write\n{form}"


def calls_text(calls: Sequence[Json]) -> str:
    return "\n".join(f"<tool_call>\n{_call_json(call)}\n</tool_call>" for call in calls)


def result_text(content: str) -> str:
    return f"<tool_response>\n{content}\n</tool_response>"


def read_calls(text: str, names: Collection[str]) -> tuple[str, tuple[Json, ...]]:
    """The calls in a model's text, in OpenAI's form, and the text around them.

    Read are `<tool_call>` blocks, and a text that is nothing but one call or a list of calls as
    JSON. What names none of `names`, or is no call, stays text.
    """
    if not names:
        return text, ()
    found = [_call(_json(block), names) for block in _BLOCK.findall(text)]
    if found and None not in found:
        rest = _BLOCK.sub("", text).strip()
    else:
        whole = _json(text)
        found = [_call(item, names) for item in (whole if isinstance(whole, list) else [whole])]
        rest = ""
    calls = [call for call in found if call is not None]
    if not calls or len(calls) < len(found):
        return text, ()
    return rest, tuple({"id": f"call{i:05d}"} | call for i, call in enumerate(calls))


def _call_json(call: Json) -> str:
    value = {"name": call["function"]["name"], "arguments": arguments_of(call)}
    return orjson.dumps(value).decode()


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _call(value: Any, names: Collection[str]) -> Json | None:
    if not isinstance(value, dict) or value.get("name") not in names:
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = _json(arguments)
    if not isinstance(arguments, dict):
        return None
    function = {"name": value["name"], "arguments": orjson.dumps(arguments).decode()}
    return {"type": "function", "function": function}
