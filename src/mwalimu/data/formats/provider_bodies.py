"""Requests and answers as providers write them: what is said in them, and how it was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mwalimu.data.chat import BadValue
from mwalimu.data.formats.base import Exchange, list_of, object_of, text_of
from mwalimu.data.record import Json

_SAMPLING = {
    "temperature": ("temperature",),
    "top_p": ("top_p", "topP"),
    "max_tokens": ("max_tokens", "max_completion_tokens", "maxTokens"),
}


def sampling_of(body: Json) -> Json:
    """temperature, top_p and max_tokens as far as the request named them."""
    found: Json = {}
    for name, aliases in _SAMPLING.items():
        value = next((body[alias] for alias in aliases if body.get(alias) is not None), None)
        if isinstance(value, int | float):
            found[name] = value
    return found


def anthropic_request(body: Json, where: str) -> Json:
    """The text conversation of a body of Anthropic's messages API. Raises BadValue."""
    turns = []
    for index, item in enumerate(list_of(body.get("messages"), f"{where}.messages")):
        message = object_of(item, f"{where}.messages[{index}]")
        content = text_of(message.get("content"), f"{where}.messages[{index}].content")
        turns.append({"role": message.get("role"), "content": content})
    row: Json = {"messages": turns}
    if body.get("system"):
        row["system"] = text_of(body["system"], f"{where}.system")
    return row


def joined_stream(events: Sequence[Any]) -> Json:
    """What Anthropic's events of a stream add up to: the text, why it ended, the tokens."""
    answer: Json = {}
    usage: Json = {}
    texts: list[str] = []
    for event in events:
        if not isinstance(event, dict):
            continue
        if isinstance(message := event.get("message"), dict):
            answer["model"] = message.get("model")
            usage |= message.get("usage") or {}
        delta = event.get("delta")
        if isinstance(delta, dict):
            texts.append(str(delta.get("text") or ""))
            answer["stop_reason"] = delta.get("stop_reason") or answer.get("stop_reason")
        usage |= event.get("usage") or {}
    content = [{"type": "text", "text": "".join(texts)}]
    return answer | {"content": content, "usage": usage}


def answer_row(exchange: Exchange) -> Json:
    """The request with the answer's text as its last turn. Raises BadValue where there is none."""
    text = _ANSWERS[exchange.wire](exchange.answer)
    if not isinstance(text, str) or not text.strip():
        raise BadValue("answer", "has no text", "leave the row out")
    said = {"role": "assistant", "content": text}
    return exchange.row | {"messages": [*exchange.row["messages"], said]}


def _openai_text(answer: Json) -> Any:
    choices = answer.get("choices")
    message = choices[0].get("message") if isinstance(choices, list) and choices else None
    content = message.get("content") if isinstance(message, dict) else None
    return text_of(content, "answer") if isinstance(content, list) else content


def _anthropic_text(answer: Json) -> Any:
    return _block_texts(answer.get("content"))


def _converse_text(answer: Json) -> Any:
    message = object_of(answer.get("output"), "answer.output").get("message")
    return _block_texts(message.get("content") if isinstance(message, dict) else None)


def _block_texts(blocks: Any) -> str:
    """Blocks of another kind (a thought, a call) are no part of the answer's text."""
    found = (
        [b.get("text") for b in blocks if isinstance(b, dict)] if isinstance(blocks, list) else []
    )
    return "".join(text for text in found if isinstance(text, str))


_ANSWERS = {"openai": _openai_text, "anthropic": _anthropic_text, "converse": _converse_text}
