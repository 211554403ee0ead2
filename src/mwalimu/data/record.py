"""`Record`: one row of the user's data, the same shape from the reader to the last prediction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, dataclass_transform

Role = Literal["system", "user", "assistant", "tool"]
Json = dict[str, Any]
T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_class(cls: type[T]) -> type[T]:
    """A dataclass that mypy keeps frozen.

    For what is made of every row: to be frozen at run time too costs 0.2 us a field.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


@value_class
class Message:
    """One turn. `tool_calls` (assistant) and `tool_call_id` (tool) are kept as they were given."""

    role: Role
    content: str
    tool_calls: tuple[Json, ...] = ()
    tool_call_id: str = ""

    def to_json(self) -> Json:
        message: Json = {"role": self.role, "content": self.content}
        if self.tool_calls:
            message["tool_calls"] = list(self.tool_calls)
        if self.tool_call_id:
            message["tool_call_id"] = self.tool_call_id
        return message


@value_class
class Record:
    """A prompt and, where known, its gold answer.

    `messages` ends with a user or a tool turn. `reference` is the gold answer (None when
    unlabelled); `tools` are the functions that the assistant may call; `metadata` is the user's
    own and is carried along untouched.
    """

    id: str
    task: str
    messages: tuple[Message, ...]
    reference: str | None = None
    metadata: Json = field(default_factory=dict)
    tools: tuple[Json, ...] = ()

    def to_json(self) -> Json:
        """The chat form: the reference, if any, is the last assistant message."""
        messages = [message.to_json() for message in self.messages]
        if self.reference is not None:
            messages.append({"role": "assistant", "content": self.reference})
        row: Json = {"id": self.id, "task": self.task, "messages": messages}
        if self.tools:
            row["tools"] = list(self.tools)
        if self.metadata:
            row["metadata"] = self.metadata
        return row
