"""Anthropic's messages protocol, spoken in the OpenAI-shaped terms of `Request`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from multidict import CIMultiDict
from yarl import URL

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Json, Message
from mwalimu.teachers.base import (
    Capabilities,
    Completion,
    FinishReason,
    Request,
    RowError,
    Usage,
)
from mwalimu.teachers.status import clean
from mwalimu.teachers.wire import api_key, base_url, json_headers, listed_models, under, with_extra
from mwalimu.teachers.wire import tokens as count

HOME = "https://api.anthropic.com"
VERSION, OLDER_VERSION = "2026-10-21", "2023-06-01"  # the older one still has sampling parameters
ANSWER_TOOL = "structured_answer"  # see _answer_by_tool
OLDER = re.compile(r"claude-(?:[23]|instant|(?:opus|sonnet|haiku)-4(?:-[0-6])?(?:[-@]\d{8}|$))")
REASONS: dict[Any, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}


class AnthropicMessages:
    """It has no seed: two samples of a request differ only where the temperature is above 0."""

    capabilities = Capabilities(tools=True, schema=True)
    model_setting = "teacher.model"

    def __init__(self) -> None:
        self._headers: CIMultiDict[str] | None = None

    def url(self, config: TeacherConfig) -> URL:
        return under(_api(config), "messages")

    def models_url(self, config: TeacherConfig) -> URL | None:
        return under(_api(config), "models").update_query(limit=1000)

    def model_names(self, raw: bytes) -> list[str]:
        return listed_models(raw)

    async def headers(self, config: TeacherConfig) -> CIMultiDict[str]:
        if self._headers is None:
            key = api_key(config)
            version = OLDER_VERSION if _is_older(config.model) else VERSION
            self._headers = json_headers(
                anthropic_version=version, **({"x_api_key": key} if key else {})
            )
        return self._headers

    def body(self, request: Request, config: TeacherConfig) -> Json:
        sampling = request.sampling
        older = _is_older(config.model)
        body: Json = {
            "model": config.model,
            "max_tokens": sampling.max_tokens,
            "messages": _turns(request.messages),
            "stream": False,
        }
        if system := [m.content for m in request.messages if m.role == "system" and m.content]:
            body["system"] = "\n\n".join(system)
        if older or sampling.temperature:
            body["temperature"] = sampling.temperature
        if sampling.top_p != 1:  # many models refuse the two together
            body["top_p"] = sampling.top_p
        if sampling.stop:
            body["stop_sequences"] = list(sampling.stop)
        if request.tools:
            body["tools"] = [_tool(tool) for tool in request.tools]
        if request.schema is not None:
            body |= (_answer_by_tool if older else _answer_by_format)(request.schema, body)
        return with_extra(body, config) if config.extra_body else body

    def is_answer(self, raw: bytes) -> bool:
        try:
            answer = orjson.loads(raw)
            return isinstance(answer["content"], list) and "stop_reason" in answer
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return False

    def parse(self, raw: bytes, config: TeacherConfig) -> Completion:
        answer = orjson.loads(raw)
        blocks = [block for block in answer["content"] if isinstance(block, dict)]
        finish = REASONS.get(answer.get("stop_reason"), "error")
        calls = [block for block in blocks if block.get("type") == "tool_use"]
        structured = [call for call in calls if call.get("name") == ANSWER_TOOL]
        return Completion(
            text=_json(structured[0]["input"]) if structured else "".join(_field(blocks, "text")),
            finish_reason=finish,
            usage=_usage(answer.get("usage")),
            model=str(answer.get("model") or config.model),
            detail=_detail(answer) if finish in ("error", "refusal") else "",
            reasoning="\n".join(_field(blocks, "thinking")),
            tool_calls=tuple(_call(call) for call in calls if call not in structured),
        )


def _api(config: TeacherConfig) -> URL:
    url = base_url(config, HOME)
    return url if url.name == "v1" else under(url, "v1")


def _turns(messages: Sequence[Message]) -> list[Json]:
    """User and assistant turns; the results of one turn's calls share one user turn."""
    turns: list[Json] = []
    names = _Ids()
    for message in messages:
        match message.role:
            case "user":
                turns.append({"role": "user", "content": message.content})
            case "assistant":
                turns.append({"role": "assistant", "content": _said(message, names)})
            case "tool":
                result = {
                    "type": "tool_result",
                    "tool_use_id": names.answered(message.tool_call_id),
                    "content": message.content,
                }
                if turns and isinstance(turns[-1]["content"], list) and turns[-1]["role"] == "user":
                    turns[-1]["content"].append(result)
                else:
                    turns.append({"role": "user", "content": [result]})
    return turns


def _said(message: Message, names: _Ids) -> str | list[Json]:
    if not message.tool_calls:
        return message.content
    blocks: list[Json] = []
    if message.content:  # an empty text block is refused
        blocks.append({"type": "text", "text": message.content})
    for call in message.tool_calls:
        function = call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RowError("a tool call without a function's name")
        use = {"type": "tool_use", "id": names.called(call.get("id")), "name": function["name"]}
        blocks.append({**use, "input": _arguments(function)})
    return blocks


class _Ids:
    """Ids of calls as Anthropic allows them; where the data has none, calls are numbered."""

    def __init__(self) -> None:
        self._made = 0
        self._open: list[str] = []

    def called(self, given: object) -> str:
        self._made += 1
        name = self._allowed(given) or f"call_{self._made}"
        self._open.append(name)
        return name

    def answered(self, given: str) -> str:
        name = self._allowed(given)
        if name in self._open:
            self._open.remove(name)
        elif not name and self._open:
            name = self._open.pop(0)
        return name or "call_0"

    def _allowed(self, given: object) -> str:
        return re.sub(r"[^a-zA-Z0-9_-]", "_", given) if isinstance(given, str) else ""


def _arguments(function: Mapping[str, Any]) -> Json:
    given = function.get("arguments") or {}
    if isinstance(given, str):
        try:
            given = orjson.loads(given)
        except orjson.JSONDecodeError:
            given = None
    if not isinstance(given, dict):
        raise RowError(f"the arguments of the call of {function['name']} are no JSON object")
    return given


def _tool(tool: Json) -> Json:
    """{"type": "function", "function": {...}} -> {"name", "description", "input_schema"}."""
    function = tool.get("function", tool)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowError("a tool without a function's name")
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    described = {"description": d} if (d := function.get("description")) else {}
    return {"name": function["name"], **described, "input_schema": schema}


def _answer_by_tool(schema: Json, body: Json) -> Json:
    """A tool that must be called: its input is the answer. The way of models before formats."""
    description = "Call this with the answer, and with nothing else."
    tool = {"name": ANSWER_TOOL, "description": description, "input_schema": schema}
    if others := body.get("tools"):
        return {"tools": [*others, tool], "tool_choice": {"type": "any"}}
    return {"tools": [tool], "tool_choice": {"type": "tool", "name": ANSWER_TOOL}}


def _answer_by_format(schema: Json, body: Json) -> Json:
    """Models that think unless they are told not to refuse a tool that must be called."""
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


def _is_older(model: str) -> bool:
    """Up to Claude 4.6, and whatever else speaks this protocol, sampling is as one asks.

    Later models take no temperature at all. A 0, our default, is therefore not sent to them; any
    other is, so that they refuse it by name instead of being asked for something else in silence.
    """
    return "claude" not in model or OLDER.search(model) is not None


def _call(block: Mapping[str, Any]) -> Json:
    function = {"name": block["name"], "arguments": _json(block["input"])}
    return {"id": str(block.get("id") or ""), "type": "function", "function": function}


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _field(blocks: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    found = [block.get(kind) for block in blocks if block.get("type") == kind]
    return [text for text in found if isinstance(text, str) and text]


def _usage(usage: object) -> Usage:
    """Anthropic counts apart what came from the cache, what was written to it, and the rest."""
    cached = count(usage, "cache_read_input_tokens")
    written = count(usage, "cache_creation_input_tokens")
    fresh = count(usage, "input_tokens")
    return Usage(fresh + cached + written, count(usage, "output_tokens"), cached)


def _detail(answer: Mapping[str, Any]) -> str:
    more = answer.get("stop_details")
    said = more.get("explanation") if isinstance(more, dict) else None
    return clean(str(said) if said else f"stop_reason {answer.get('stop_reason')}")
