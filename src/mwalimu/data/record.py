"""`Record`: one row of the user's data, the same shape from the reader to the last prediction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str

    def to_json(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True)
class Record:
    """A prompt and, where known, its gold answer.

    `messages` ends with a user turn. `reference` is the gold answer (None when unlabelled);
    `metadata` is the user's own and is carried along untouched.
    """

    id: str
    task: str
    messages: tuple[Message, ...]
    reference: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The chat form: the reference, if any, is the last assistant message."""
        messages = [message.to_json() for message in self.messages]
        if self.reference is not None:
            messages.append({"role": "assistant", "content": self.reference})
        row: dict[str, Any] = {"id": self.id, "task": self.task, "messages": messages}
        if self.metadata:
            row["metadata"] = self.metadata
        return row
