"""A row's conversations as examples: each ends with an answer that is learned, and has a key.

The key names the conversation, not its tokens, so that what a teacher said of it is found again
whatever the tokenizer, the order of the rows, or how they are packed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from mwalimu.data.record import Json

KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Example:
    """The last message of `chat` is the answer, bought by the request of `request_key` if known."""

    chat: Sequence[Json]
    tools: Sequence[Json]
    row_id: str
    request_key: str = ""

    @property
    def key(self) -> bytes:
        """16 bytes of BLAKE2b over the canonical JSON of the conversation and its tools."""
        content = {"chat": list(self.chat), "tools": list(self.tools)}
        try:
            canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # lone surrogates and integers above 64 bits, which JSON texts may hold
            canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        return hashlib.blake2b(canonical, digest_size=KEY_BYTES).digest()


def examples_of(row: Mapping[str, Any]) -> Iterator[Example]:
    """A row teaches its last answer; with `"learn": "all"` every assistant turn, each as an example
    of its own with the conversation up to it: exactly what the student sees when it is asked.
    """
    messages, tools = row["messages"], row.get("tools") or ()
    row_id = str(row.get("id", ""))
    if row.get("learn") != "all":
        yield Example(messages, tools, row_id, _request_key(row))
        return
    for end, message in enumerate(messages, 1):
        if message["role"] == "assistant":
            yield Example(messages[:end], tools, row_id)


def _request_key(row: Mapping[str, Any]) -> str:
    teacher = row.get("teacher")
    return str(teacher.get("request_key") or "") if isinstance(teacher, Mapping) else ""
