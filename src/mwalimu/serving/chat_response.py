"""Answers in OpenAI's shapes: one object, or the chunks of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from mwalimu.data.byte_spans import token_bytes
from mwalimu.data.record import Json
from mwalimu.data.token_scores import TokenTexts
from mwalimu.data.tool_text import read_calls
from mwalimu.serving.generation import Finished, Tops

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all objects of one response have in common."""

    id: str
    created: int
    model: str

    def whole(self, choices: list[Json], usage: Json) -> Json:
        return self._object("chat.completion", choices) | {"usage": usage}

    def chunk(self, index: int, delta: Json, **more: Any) -> Json:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None} | more
        return self._object("chat.completion.chunk", [choice])

    def usage_chunk(self, usage: Json) -> Json:
        return self._object("chat.completion.chunk", []) | {"usage": usage}

    def _object(self, kind: str, choices: list[Json]) -> Json:
        head = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return head | {"choices": choices}


def usage_of(prompt: int, finished: Sequence[Finished]) -> Json:
    used = sum(one.used for one in finished)
    return {"prompt_tokens": prompt, "completion_tokens": used, "total_tokens": prompt + used}


def message_of(text: str, reason: str, tools: Sequence[Json]) -> tuple[Json, str]:
    """An assistant's message and its finish reason; calls in the text are taken out of it."""
    names = {tool["function"]["name"] for tool in tools}
    content, calls = read_calls(text, names)
    message: Json = {"role": "assistant", "content": content or None if calls else content}
    message["refusal"] = None
    if not calls:
        return message, reason
    return message | {"tool_calls": list(calls)}, "tool_calls"


class LogProbs:
    """Tokens as OpenAI's `logprobs` spells them."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._texts = TokenTexts(tokenizer)

    def content(self, ids: Sequence[int], values: Sequence[float], tops: Tops) -> Json:
        """`tops` may be empty: then there are no alternatives."""
        rows = [
            self._token(token, value) | {"top_logprobs": [self._token(*one) for one in top]}
            for token, value, top in zip(ids, values, tops or [[]] * len(ids), strict=True)
        ]
        return {"content": rows, "refusal": None}

    def of(self, finished: Finished) -> Json:
        """Of the answer's own tokens."""
        kept, answer = finished.kept, finished.completion
        return self.content(answer.ids[:kept], answer.token_log_probs[:kept], finished.tops[:kept])

    def _token(self, token: int, value: float) -> Json:
        spelled = token_bytes(self._tokenizer, [token])[0]
        return {"token": self._texts[token], "logprob": value, "bytes": list(spelled) or None}


def event(value: Json) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"
