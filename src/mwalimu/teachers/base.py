"""What a teacher is. Bytes first, meaning after: raw answers are stored before they are parsed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import orjson

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Json, Message, value_class

if TYPE_CHECKING:
    from mwalimu.data.kept import Kept

FinishReason = Literal["stop", "length", "content_filter", "refusal", "error"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn; part of the request key, so a change buys new answers.

    `top_logprobs`: how many alternatives a token the server is asked to report; 0 asks for none.
    `kept` is no part of the key: what a local teacher keeps of its distribution beside an answer
    changes nothing of the answer, so one that was stored without it is never asked for again.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int = 0
    top_logprobs: int = 0
    stop: tuple[str, ...] = ()
    kept: Kept | None = None

    @classmethod
    def of(cls, teacher: TeacherConfig, seed: int) -> Sampling:
        """As the config asks for it."""
        return cls(
            teacher.temperature,
            teacher.top_p,
            teacher.max_tokens,
            seed,
            teacher.top_logprobs,
            teacher.stop,
        )

    def to_json(self) -> Json:
        """What is unset is left out, so that a new setting buys no old answer again."""
        sampling: Json = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
        }
        if self.top_logprobs:
            sampling["top_logprobs"] = self.top_logprobs
        if self.stop:
            sampling["stop"] = self.stop
        return sampling


@dataclass(frozen=True)
class Request:
    """One question to a teacher; `key` is the content address of its answer.

    `model` is the teacher's identity (`TeacherInfo.model`), which need not be its name on the wire.
    `schema` is the JSON schema that the answer has to satisfy, None for free text.
    """

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling
    sample: int = 0
    tools: tuple[Json, ...] = ()
    schema: Json | None = None

    @cached_property
    def key(self) -> str:
        """SHA-256 of the canonical JSON, as hex."""
        content: Json = {
            "model": self.model,
            "messages": [message.to_json() for message in self.messages],
            "sampling": self.sampling.to_json(),
            "sample": self.sample,
        }
        if self.tools:
            content["tools"] = self.tools
        if self.schema is not None:
            content["schema"] = self.schema
        try:
            canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # lone surrogates and integers above 64 bits, which JSON texts may hold
            canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        return hashlib.sha256(canonical).hexdigest()


@value_class
class Usage:
    """Tokens as the teacher counted them; `cached_tokens` are among `prompt_tokens`."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class TokenLogprob(NamedTuple):
    """One token of an answer: its text, its natural log-probability, and the best alternatives."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@value_class
class Completion:
    """A parsed answer. `finish_reason` other than "stop" is an outcome, never training data.

    `reasoning` is what a reasoning model wrote apart from its answer; `detail` says more about an
    "error", for the reject's reason.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    model: str
    detail: str = ""
    reasoning: str = ""
    tool_calls: tuple[Json, ...] = ()
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a teacher can tell beside text; a recipe that needs more fails before the first call."""

    text: bool = True
    top_logprobs: int = 0
    hidden_states: bool = False
    tools: bool = False
    schema: bool = False


class Window(NamedTuple):
    """A quota as a server's headers tell it; None where they do not."""

    limit_per_minute: float | None = None
    remaining: float | None = None
    reset_s: float | None = None


class RateLimits(NamedTuple):
    requests: Window = Window()
    tokens: Window = Window()


class Reply(NamedTuple):
    """A raw answer, stored as it is, and what came with it."""

    raw: bytes
    limits: RateLimits | None = None


class TransientError(Exception):
    """The call may succeed if repeated: 408, 409, 425, 429, 5xx, a dropped connection.

    `retry_after_s` is the server's own wish. `ambiguous`: the server may have done (and billed)
    the work. `rate_limited`: too fast; `overloaded`: too much at once; `unreachable`: nobody there.
    Only the engine retries.
    """

    def __init__(
        self,
        reason: str,
        *,
        retry_after_s: float | None = None,
        ambiguous: bool = False,
        rate_limited: bool = False,
        overloaded: bool = False,
        unreachable: bool = False,
        limits: RateLimits | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.ambiguous = ambiguous
        self.rate_limited = rate_limited
        self.overloaded = overloaded
        self.unreachable = unreachable
        self.limits = limits


class RowError(Exception):
    """This request will never succeed (400, 413, 422, prompt longer than the context).

    The row becomes a reject with this reason; the others go on. `billed`: the work was done.
    """

    def __init__(self, reason: str, *, billed: bool = False) -> None:
        super().__init__(reason)
        self.billed = billed


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

    async def send(self, requests: Sequence[Request]) -> Sequence[Reply]:
        """Raw answers, one a request, in order. Raises TransientError, RowError, TeacherError."""

    def parse(self, raw: bytes) -> Completion:
        """The meaning of a stored raw answer.

        Raises ValueError, KeyError, TypeError or IndexError when it has none.
        """

    async def close(self) -> None: ...
