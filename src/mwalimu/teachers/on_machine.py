"""What the teachers that run on this machine share: asking in token ids, and the raw answer's form.

Prompts are encoded as in training, so a teacher and its student see a question alike. An answer is
stored as compact JSON: text, finish_reason, prompt_tokens, completion_tokens, detail, and where
there are any `tools`, the names that the answer could call, and `logprobs`, a list of
[token, logprob, [[alternative, logprob], ...]] rounded to a millionth, and `distribution`, what was
kept of it for the answer's own ids and its end (`data/kept.py`). Calls are read from the text when
it is parsed, so what is stored stays what the model wrote.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from jinja2 import TemplateError

from mwalimu.config import TeacherConfig
from mwalimu.data.batched_generation import Answer
from mwalimu.data.kept import pack
from mwalimu.data.tokenize import encode_prompt, prepare_tokenizer
from mwalimu.data.tool_text import read_calls
from mwalimu.errors import StudentError, TeacherError
from mwalimu.run import fingerprint, model_hashes
from mwalimu.teachers.base import (
    Capabilities,
    Completion,
    Reply,
    Request,
    Sampling,
    TeacherInfo,
    TokenLogprob,
    Usage,
)

TOP_LOGPROBS = 20
UNASKED = Answer("", 0, False)


class OnMachineTeacher(ABC):
    """Loads at `check`; answers in batches that the engine fixes from the input alone.

    A `schema` cannot be enforced here: the answer is free text, and is judged like any other.
    """

    kind: str
    concurrency = 1

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config
        self.batch_size = config.batch_size
        self.info = TeacherInfo(config.model, self.kind)
        self.capabilities = Capabilities(top_logprobs=TOP_LOGPROBS, tools=True)
        self._tokenizer: Any = None

    async def check(self) -> None:
        await asyncio.to_thread(self._load)
        self.info.model = await asyncio.to_thread(_identity, self.config)

    async def send(self, requests: Sequence[Request]) -> Sequence[Reply]:
        return await asyncio.to_thread(self._answer, requests)

    def parse(self, raw: bytes) -> Completion:
        return parse_answer(raw, self.info.model)

    async def close(self) -> None:
        self._tokenizer = None

    @abstractmethod
    def _load(self) -> None:
        """Sets `_tokenizer`, by `asking_tokenizer`, and the model. Raises TeacherError kinds."""

    @abstractmethod
    def _context(self) -> int:
        """Tokens that a prompt and its answer may take together."""

    @abstractmethod
    def _generate(
        self, prompts: list[list[int]], requests: list[Request], sampling: Sampling
    ) -> list[tuple[Answer, str]]:
        """The answers, in order, each with why it broke off, "" where it did not."""

    def _answer(self, requests: Sequence[Request]) -> list[Reply]:
        """A batch whose requests differ in their sampling is answered in parts."""
        raws = [b""] * len(requests)
        for sampling in dict.fromkeys(request.sampling for request in requests):
            part = [i for i, request in enumerate(requests) if request.sampling == sampling]
            answered = self._answer_alike([requests[i] for i in part], sampling)
            for i, raw in zip(part, answered, strict=True):
                raws[i] = raw
        return [Reply(raw) for raw in raws]

    def _answer_alike(self, requests: list[Request], sampling: Sampling) -> list[bytes]:
        limit = self._context() - sampling.max_tokens
        encoded = [self._encode(request, limit) for request in requests]
        results = [(UNASKED, trouble) for _, trouble in encoded]
        if askable := [i for i, (_, trouble) in enumerate(encoded) if not trouble]:
            prompts = [encoded[i][0] for i in askable]
            answers = self._generate(prompts, [requests[i] for i in askable], sampling)
            for i, answer in zip(askable, answers, strict=True):
                results[i] = answer
        rows = zip(requests, encoded, results, strict=True)
        return [_dump(request, len(ids), *result) for request, (ids, _), result in rows]

    def _encode(self, request: Request, limit: int) -> tuple[list[int], str]:
        """The prompt, and why it cannot be asked, "" if it can."""
        try:
            ids = encode_prompt(self._tokenizer, request.messages, request.tools)
        except TemplateError as error:
            return [], f"the chat template refuses the conversation ({error})"
        if len(ids) <= limit:
            return ids, ""
        room = f"the teacher's context leaves room for {limit}"
        return ids, f"the prompt has {len(ids)} tokens, {room}"


def asking_tokenizer(tokenizer: Any, name: str) -> Any:
    """`tokenizer`, prepared for asking. Raises TeacherError."""
    if not tokenizer.chat_template:
        raise TeacherError(
            "the teacher's tokenizer has no chat template, so it cannot be asked in turns",
            where=name,
            fix="use an instruction-tuned model",
        )
    try:
        prepare_tokenizer(tokenizer)
    except StudentError as error:
        raise TeacherError(error.what, where=name, fix=error.fix) from None
    return tokenizer


def seed_of(request: Request) -> int:
    """Of an answer's draws: the key holds the prompt, the sampling and the sample's number."""
    return int(request.key[:15], 16) + request.sampling.seed


def parse_answer(raw: bytes, model: str) -> Completion:
    """The meaning of a stored answer. Raises ValueError, KeyError, TypeError or IndexError."""
    answer = orjson.loads(raw)
    text, calls = read_calls(answer["text"], answer.get("tools") or ())
    scores = answer.get("logprobs")
    return Completion(
        text,
        answer["finish_reason"],
        Usage(answer["prompt_tokens"], answer["completion_tokens"]),
        model,
        answer["detail"],
        tool_calls=calls,
        logprobs=None if scores is None else tuple(_token_logprob(*score) for score in scores),
    )


def _token_logprob(token: str, logprob: float, top: list[list[Any]]) -> TokenLogprob:
    return TokenLogprob(token, logprob, tuple((text, value) for text, value in top))


def _dump(request: Request, prompt_tokens: int, answer: Answer, trouble: str) -> bytes:
    row: dict[str, Any] = {
        "text": answer.text,
        "finish_reason": "error" if trouble else "stop" if answer.stopped else "length",
        "prompt_tokens": prompt_tokens,
        "completion_tokens": answer.tokens,
        "detail": trouble,
    }
    if request.tools:
        row["tools"] = [tool["function"]["name"] for tool in request.tools]
    if answer.scores is not None:
        row["logprobs"] = [
            [token, round(logprob, 6), [[text, round(value, 6)] for text, value in top]]
            for token, logprob, top in answer.scores
        ]
    if answer.distribution is not None and request.sampling.kept is not None:
        row["distribution"] = {
            "kept": request.sampling.kept.to_json(),
            "ids": list(answer.ids),
            "arrays": pack(answer.distribution),
        }
    return orjson.dumps(row)


def _identity(config: TeacherConfig) -> str:
    """In the request keys: a folder is known by its contents, wherever it lies."""
    if config.identity:
        return config.identity
    hashes = model_hashes(config.model)
    return f"{Path(config.model).name}@{fingerprint(hashes)[:16]}" if hashes else config.model
