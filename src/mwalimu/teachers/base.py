"""What a teacher is. Bytes first, meaning after: raw answers are stored before they are parsed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from mwalimu.data.record import Message

FinishReason = Literal["stop", "length", "content_filter", "refusal", "error"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn; part of the request key, so a change buys new answers."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a teacher; `key` is the content address of its answer."""

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling
    sample: int = 0

    @property
    def key(self) -> str:
        content = {
            "model": self.model,
            "messages": [message.to_json() for message in self.messages],
            "sampling": asdict(self.sampling),
            "sample": self.sample,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """A parsed answer. `finish_reason` other than "stop" is an outcome, never training data.

    `detail` says more about an "error", for the reject's reason.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    model: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a teacher can tell beside text; a recipe that needs more fails before the first call."""

    text: bool = True
    top_logprobs: int = 0
    hidden_states: bool = False


class TransientError(Exception):
    """The call may succeed if repeated: 408, 409, 425, 429, 5xx, a dropped connection.

    `retry_after_s` is the server's own wish. `ambiguous`: the server may have done (and billed)
    the work. Only the engine retries.
    """

    def __init__(
        self, reason: str, *, retry_after_s: float | None = None, ambiguous: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.ambiguous = ambiguous


class RowError(Exception):
    """This request will never succeed (400, 413, 422, prompt longer than the context).

    The row becomes a reject with this reason; the others go on.
    """


@dataclass(slots=True)
class TeacherInfo:
    """Identity for the manifest and the request keys."""

    model: str
    kind: str
    details: dict[str, Any] = field(default_factory=dict)


class Teacher(Protocol):
    """A source of answers.

    `batch_size` is 1 for served teachers. A local teacher answers fixed batches, so that an
    answer never depends on what was in flight beside it.
    """

    info: TeacherInfo
    capabilities: Capabilities
    batch_size: int
    concurrency: int

    async def check(self) -> None:
        """One cheap look before the first row: reachable, key accepted, model known."""

    async def send(self, requests: Sequence[Request]) -> Sequence[bytes]:
        """Raw answers, one a request, in order. Raises TransientError, RowError, TeacherError."""

    def parse(self, raw: bytes) -> Completion:
        """The meaning of a stored raw answer. Raises ValueError when it has none."""

    async def close(self) -> None: ...
