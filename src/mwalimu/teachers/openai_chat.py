"""The OpenAI chat protocol: hosted APIs, vLLM, SGLang, Ollama, llama.cpp, and most gateways."""

from __future__ import annotations

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
    TokenLogprob,
    Usage,
)
from mwalimu.teachers.status import clean, read_error
from mwalimu.teachers.wire import api_key, base_url, json_headers, listed_models, under, with_extra
from mwalimu.teachers.wire import tokens as count

CHAT = ("chat", "completions")
END_OF_THOUGHT = "</think>"
NOT_LISTED = -9999.0  # OpenAI's own value for "so improbable that it is not reported"
AWAY = {"error", "insufficient_system_resource"}  # a gateway's or DeepSeek's word for a 5xx
REASONS: dict[Any, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "refusal": "refusal",
}


class OpenAIChat:
    """One wire a teacher: it keeps the headers that it built."""

    capabilities = Capabilities(top_logprobs=20, tools=True, schema=True)
    model_setting = "teacher.model"

    def __init__(self) -> None:
        self._headers: CIMultiDict[str] | None = None
        self._last: tuple[bytes, Any] = b"", None

    def url(self, config: TeacherConfig) -> URL:
        url = base_url(config)
        return url if url.parts[-2:] == CHAT else under(url, *CHAT)

    def models_url(self, config: TeacherConfig) -> URL | None:
        url = self.url(config)
        return under(url.parent.parent.with_query(url.query), "models")

    def model_names(self, raw: bytes) -> list[str]:
        return listed_models(raw)

    async def headers(self, config: TeacherConfig) -> CIMultiDict[str]:
        if self._headers is None:
            key = api_key(config)
            self._headers = json_headers(**({"authorization": f"Bearer {key}"} if key else {}))
        return self._headers

    def body(self, request: Request, config: TeacherConfig) -> Json:
        sampling = request.sampling
        body: Json = {
            "model": self.wire_model(config),
            "messages": [_turn(message) for message in request.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed + request.sample,
            "stream": False,
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if request.tools:
            body["tools"] = list(request.tools)
        if request.schema is not None:
            schema = {"name": "answer", "strict": True, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if sampling.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": sampling.top_logprobs}
        return with_extra(body, config) if config.extra_body else body

    def _read(self, raw: bytes) -> Any:
        """An answer is looked at, stored and parsed: read once where nothing came between."""
        if raw is not self._last[0]:
            self._last = raw, orjson.loads(raw)
        return self._last[1]

    def wire_model(self, config: TeacherConfig) -> str:
        return config.model

    def is_answer(self, raw: bytes) -> bool:
        try:
            answer = self._read(raw)
            if choices := answer["choices"]:
                choice = choices[0]
                return isinstance(choice["message"], dict) and _reason(choice) not in AWAY
            return _prompt_filtered(answer)
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
            return False

    def parse(self, raw: bytes, config: TeacherConfig) -> Completion:
        answer = self._read(raw)
        if not isinstance(answer, dict):
            raise TypeError("an answer is an object")
        usage, model = _usage(answer), str(answer.get("model") or config.model)
        if not answer.get("choices"):
            if not read_error(raw).filtered and not _prompt_filtered(answer):
                raise KeyError("choices")
            return Completion("", "content_filter", usage, model, "the prompt was filtered")
        choice = answer["choices"][0]
        message = choice["message"]
        if not isinstance(message, dict):
            raise TypeError("a message is an object")
        said, thought = _parts(message.get("content"))
        thought = _text(message, "reasoning_content", "reasoning") or thought
        text, tagged = _split_thought(said, headless=not thought)
        refusal = _text(message, "refusal")
        finish = "refusal" if refusal else REASONS.get(_reason(choice), "error")
        return Completion(
            text=text or refusal,
            finish_reason=finish,
            usage=usage,
            model=model,
            detail=_detail(choice) if finish == "error" else "",
            reasoning="\n".join(filter(None, (thought, tagged))),
            tool_calls=_tool_calls(message),
            logprobs=_logprobs(choice, thought_ends=bool(tagged)),
        )


def _turn(message: Message) -> Json:
    turn = message.to_json()
    if message.tool_calls:
        turn["tool_calls"] = [_call_as_text(call) for call in message.tool_calls]
    return turn


def _call_as_text(call: Json) -> Json:
    """Data sets often hold the arguments as an object; the protocol wants them as a string."""
    function = call.get("function")
    if not isinstance(function, dict) or isinstance(function.get("arguments"), str):
        return call
    arguments = orjson.dumps(function.get("arguments") or {}).decode()
    return {**call, "function": {**function, "arguments": arguments}}


def _reason(choice: Mapping[str, Any]) -> str:
    return str(choice.get("finish_reason"))


def _text(message: Mapping[str, Any], *names: str) -> str:
    for name in names:
        if isinstance(value := message.get(name), str) and value:
            return value
    return ""


def _parts(content: object) -> tuple[str, str]:
    """(text, thought) of a content that is a string, nothing, or a list of typed parts."""
    if content is None or isinstance(content, str):
        return content or "", ""
    if not isinstance(content, list):
        raise TypeError("a content is text or a list of parts")
    text, thought = "", ""
    for part in content:
        if isinstance(part, str):
            text += part
        elif isinstance(part.get("text") if isinstance(part, dict) else None, str):
            text += part["text"]
        elif isinstance(part, dict) and part.get("thinking"):  # Mistral's
            inner = part["thinking"]
            thought += inner if isinstance(inner, str) else _parts(inner)[0]
    return text, thought


def _split_thought(text: str, *, headless: bool) -> tuple[str, str]:
    """(answer, thought) of "<think>...</think>answer", as open reasoning models write it.

    `headless`: also without "<think>", where the chat template had opened it. A thought that never
    ends leaves no answer.
    """
    opened = text.lstrip()
    if opened.startswith("<think>"):
        thought, _, answer = opened[len("<think>") :].partition(END_OF_THOUGHT)
        return answer.lstrip(), thought.strip()
    if headless and END_OF_THOUGHT in text:
        thought, _, answer = text.partition(END_OF_THOUGHT)
        return answer.lstrip(), thought.strip()
    return text, ""


def _detail(choice: Mapping[str, Any]) -> str:
    error = choice.get("error")
    said = error.get("message") if isinstance(error, dict) else None
    return clean(f"finish_reason {_reason(choice)}{f': {said}' if said else ''}")


def _usage(answer: Mapping[str, Any]) -> Usage:
    usage = answer.get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    return Usage(
        count(usage, "prompt_tokens"),
        count(usage, "completion_tokens"),
        count(details, "cached_tokens") or count(usage, "prompt_cache_hit_tokens"),
    )


def _tool_calls(message: Mapping[str, Any]) -> tuple[Json, ...]:
    calls = message.get("tool_calls") or ()
    found = tuple(c for c in calls if isinstance(c, dict) and isinstance(c.get("function"), dict))
    if not found and isinstance(old := message.get("function_call"), dict):
        return ({"id": "", "type": "function", "function": old},)
    return found


def _logprobs(choice: Mapping[str, Any], *, thought_ends: bool) -> tuple[TokenLogprob, ...] | None:
    """Of the answer's own tokens; None where there are none, or where they cannot be told apart."""
    block = choice.get("logprobs")
    content = block.get("content") if isinstance(block, dict) else None
    if not isinstance(content, list):
        return None
    try:
        found = tuple(
            TokenLogprob(
                t["token"],
                _logprob(t),
                tuple((a["token"], _logprob(a)) for a in t.get("top_logprobs") or ()),
            )
            for t in content
            if isinstance(t, dict)
        )
    except (KeyError, TypeError, ValueError):
        return None  # what comes beside the answer must not cost the answer
    return _after_thought(found) if thought_ends else found


def _logprob(entry: Mapping[str, Any]) -> float:
    value = entry.get("logprob")
    return NOT_LISTED if value is None else float(value)


def _after_thought(found: Sequence[TokenLogprob]) -> tuple[TokenLogprob, ...] | None:
    """Drops what `_split_thought` took off the text, so that text and tokens still agree."""
    for index, item in enumerate(found):
        if item.token.strip() == END_OF_THOUGHT:
            rest = index + 1
            while rest < len(found) and not found[rest].token.strip():
                rest += 1
            return tuple(found[rest:])
    return None


def _prompt_filtered(answer: Mapping[str, Any]) -> bool:
    """Azure's word on the prompt where it gives no choice at all."""
    for result in answer.get("prompt_filter_results") or ():
        kinds = result.get("content_filter_results") if isinstance(result, dict) else None
        values = kinds.values() if isinstance(kinds, dict) else ()
        if any(isinstance(kind, dict) and kind.get("filtered") for kind in values):
            return True
    return False
