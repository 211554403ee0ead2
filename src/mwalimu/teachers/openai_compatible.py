"""Any server that speaks the OpenAI chat protocol: hosted APIs, vLLM, SGLang, Ollama, llama.cpp.

Thin on purpose: bytes in, bytes out. It never retries (the engine does) and follows no redirect (a
key must not travel to another host).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson

from mwalimu.config import TeacherConfig
from mwalimu.errors import TeacherError, TeacherRefusesKey, TeacherUnreachable, UnknownTeacherModel
from mwalimu.teachers.base import (
    Capabilities,
    Completion,
    FinishReason,
    Request,
    RowError,
    TeacherInfo,
    TransientError,
    Usage,
)

TRANSIENT = {408, 409, 425, 429}
SHOWN = 200  # characters of a server's own message
REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
}


class OpenAICompatibleTeacher:
    """One pooled session; `send` takes one request."""

    batch_size = 1

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config
        self.url = str(config.base_url).rstrip("/")
        self.info = TeacherInfo(config.model, "openai_compatible")
        self.capabilities = Capabilities()
        self.concurrency = config.concurrency
        self._session: aiohttp.ClientSession | None = None

    async def check(self) -> None:
        """Lists the server's models: finds a dead server, a wrong key, an unknown name."""
        try:
            async with self._open().get(f"{self.url}/models", allow_redirects=False) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TeacherUnreachable(
                f"no answer from the teacher ({_short(str(error) or type(error).__name__)})",
                where=self.url,
                fix="start the server or mend teacher.base_url",
            ) from None
        self._refuse(response.status, body)
        names = _model_names(body) if response.status == 200 else []
        if names and self.config.model not in names:
            close = difflib.get_close_matches(self.config.model, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(names[:5])}"
            raise UnknownTeacherModel(
                f"has no model {self.config.model!r}", where=self.url, fix=hint
            )

    async def send(self, requests: Sequence[Request]) -> Sequence[bytes]:
        (request,) = requests
        body = orjson.dumps(_body(request))
        try:
            async with self._open().post(
                f"{self.url}/chat/completions", data=body, allow_redirects=False
            ) as response:
                raw = await response.read()
                retry_after = _retry_after(response.headers.get("Retry-After"))
        except aiohttp.ClientConnectorError:
            raise TransientError("connection refused") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            # The request went out whole: the server may have done the work, and billed it.
            raise TransientError(
                f"connection lost ({type(error).__name__})", ambiguous=True
            ) from None
        self._judge(response.status, raw, retry_after)
        return [raw]

    def parse(self, raw: bytes) -> Completion:
        answer = orjson.loads(raw)
        choice = answer["choices"][0]
        message = choice["message"]
        usage = answer.get("usage") or {}
        text = message.get("content") or ""
        return Completion(
            text=text,
            finish_reason=_finish_reason(choice, message),
            usage=Usage(usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0),
            model=str(answer.get("model") or self.config.model),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Content-Type": "application/json"}
            if key := os.environ.get(self.config.api_key_env):
                headers["Authorization"] = f"Bearer {key}"
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self.concurrency),
                timeout=aiohttp.ClientTimeout(total=self.config.timeout_s),
                headers=headers,
            )
        return self._session

    def _judge(self, status: int, raw: bytes, retry_after: float | None) -> None:
        if status == 200:
            if not _is_answer(raw):
                raise TransientError("200 with something that is no chat answer", ambiguous=True)
            return
        self._refuse(status, raw)
        if status in TRANSIENT or status >= 500:
            raise TransientError(f"HTTP {status}", retry_after_s=retry_after)
        if status == 404:
            raise UnknownTeacherModel(
                _server_message(raw) or f"has no model {self.config.model!r}",
                where=self.url,
                fix="mend teacher.model or teacher.base_url",
            )
        if status in (400, 413, 422):
            raise RowError(f"HTTP {status}: {_server_message(raw)}")
        raise TeacherError(f"answered HTTP {status}", where=self.url, fix=_server_message(raw))

    def _refuse(self, status: int, raw: bytes) -> None:
        if status in (401, 403):
            name = self.config.api_key_env
            state = "was refused" if os.environ.get(name) else "is not set"
            raise TeacherRefusesKey(
                f"answered HTTP {status}: the key in ${name} {state}",
                where=self.url,
                fix=f"export {name}=..., or name another variable in teacher.api_key_env",
            )


def _body(request: Request) -> dict[str, Any]:
    sampling = request.sampling
    return {
        "model": request.model,
        "messages": [message.to_json() for message in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed + request.sample,
        "stream": False,
    }


def _finish_reason(choice: dict[str, Any], message: dict[str, Any]) -> FinishReason:
    if message.get("refusal"):
        return "refusal"
    return REASONS.get(str(choice.get("finish_reason")), "error")


def _is_answer(raw: bytes) -> bool:
    try:
        answer = orjson.loads(raw)
        return isinstance(answer["choices"][0]["message"], dict)
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        return False


def _model_names(raw: bytes) -> list[str]:
    try:
        return [str(model["id"]) for model in orjson.loads(raw)["data"]]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return []


def _server_message(raw: bytes) -> str:
    try:
        error = orjson.loads(raw)["error"]
        return _short(str(error["message"] if isinstance(error, dict) else error))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""


def _short(text: str) -> str:
    return " ".join(text.split())[:SHOWN]


def _retry_after(value: str | None) -> float | None:
    """Seconds from a number or an HTTP date; what is neither is no wish."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
