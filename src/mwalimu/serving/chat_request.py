"""`POST /v1/chat/completions` as OpenAI's clients send it.

What this server does not do is refused, not ignored: a field that is unknown, a penalty other than
0, a bias. What cannot change an answer here (`user`, `metadata`, `store`, `service_tier`) is taken.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mwalimu.data.chat import BadValue, check_messages, check_tools
from mwalimu.data.record import Json, Message
from mwalimu.serving.problems import bad_request

MOST_CHOICES = 16
_SEED = 1 << 63


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class TextPart(Body):
    type: Literal["text"]
    text: str


class ChatMessage(Body):
    """`developer` is OpenAI's newer name of a system turn."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[Json] | None = None
    tool_call_id: str | None = None
    refusal: None = None

    def plain(self) -> Json:
        parts = self.content
        text = "".join(part.text for part in parts) if isinstance(parts, list) else parts
        role = "system" if self.role == "developer" else self.role
        message: Json = {"role": role, "content": text}
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        return message


class JsonSchema(Body):
    name: str
    schema_: Json | None = Field(None, alias="schema")
    strict: bool | None = None
    description: str | None = None


class ResponseFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(Body):
    include_usage: bool = False
    include_obfuscation: Literal[False] | None = None


Neutral = Annotated[float, Field(ge=0, le=0)]


class ChatRequest(Body):
    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    n: int | None = Field(None, ge=1, le=MOST_CHOICES)
    seed: int | None = Field(None, ge=-_SEED, lt=_SEED)
    stop: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=16)]
        | None
    ) = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[Json] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    presence_penalty: Neutral | None = None
    frequency_penalty: Neutral | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    user: str | None = None
    metadata: Json | None = None
    store: bool | None = None
    service_tier: str | None = None

    def chat(self) -> tuple[list[Message], tuple[Json, ...]]:
        """The turns and the tools, checked as training rows are. Raises Refused."""
        try:
            messages = check_messages([message.plain() for message in self.messages])
            tools = () if self.tool_choice == "none" else check_tools(self.tools)
        except BadValue as error:
            message = f"{error.field} {error.problem}; {error.fix}"
            raise bad_request(message, param=error.field) from None
        if messages[-1].role == "assistant":
            message = "the last message is the assistant's: there is nothing to answer"
            raise bad_request(message, param="messages")
        return messages, tools

    def wanted_schema(self) -> Json | None:
        """What the answer must be, if anything. Raises Refused."""
        form = self.response_format
        if form is None or form.type == "text":
            return None
        if form.type == "json_object":
            return {"type": "object"}
        if form.json_schema is None or form.json_schema.schema_ is None:
            raise bad_request("needs a schema", param="response_format.json_schema.schema")
        return form.json_schema.schema_

    def stops(self) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def tokens_wanted(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def top_log_probs(self) -> int:
        """Raises Refused: alternatives are a part of `logprobs`."""
        if self.top_logprobs and not self.logprobs:
            raise bad_request("needs logprobs: true", param="top_logprobs")
        return self.top_logprobs or 0


def read_request(kind: str, body: bytes) -> ChatRequest:
    """What a client sent, of the content type `kind`. Raises Refused."""
    main, _, sub = kind.partition(";")[0].strip().lower().partition("/")
    if main != "application" or not (sub == "json" or sub.endswith("+json")):
        # Another kind needs no leave (CORS preflight) to be sent from a page of anybody's.
        raise bad_request("body: is not said to be JSON; send content-type: application/json")
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise bad_request(f"{where}: {first['msg']}", param=where) from None


def plain_messages(messages: list[Message]) -> list[dict[str, Any]]:
    return [message.to_json() for message in messages]
