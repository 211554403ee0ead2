"""A teacher behind an address: one wire, one transport."""

from __future__ import annotations

import difflib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson
from yarl import URL

from mwalimu.config import TeacherConfig, secrets_of
from mwalimu.errors import TeacherUnreachable, UnknownTeacherModel
from mwalimu.teachers.base import (
    Completion,
    Reply,
    Request,
    RowError,
    TeacherInfo,
    TransientError,
)
from mwalimu.teachers.http import HttpTransport, is_loopback
from mwalimu.teachers.limits import rate_limits
from mwalimu.teachers.status import Place, clean, judge, public_url
from mwalimu.teachers.wire import Wire
from mwalimu.telemetry.redaction import hide

CHECK_S = 30.0  # for the list of models
MASKED = 16  # characters of a key that is masked in a stored answer, at least
FATAL_AT_ONCE = {300, 301, 302, 303, 307, 308, 401, 402, 403}
SECRET_HEADERS = ("Authorization", "x-api-key", "api-key")


class ServedTeacher:
    """`send` takes one request and never retries."""

    batch_size = 1

    def __init__(self, config: TeacherConfig, wire: Wire) -> None:
        """Raises ConfigError when `teacher.base_url` is no address."""
        self.config = config
        self.wire = wire
        self._url = wire.url(config)
        self.info = TeacherInfo(_identity(config, self._url), config.resolved_kind)
        hide(*_secrets({}, self._url, config.extra_body))
        self.capabilities = wire.capabilities
        self.concurrency = config.concurrency
        self._masked: Mapping[str, str] | None = None
        self._masks: list[bytes] = []
        self._transport = HttpTransport(
            concurrency=config.concurrency, timeout_s=config.timeout_s, idle_s=config.idle_s
        )

    async def check(self) -> None:
        """Finds a dead server, a wrong key, an unknown name; a server without a list passes.

        Raises TeacherUnreachable, TeacherRefusesKey, UnknownTeacherModel, TeacherError.
        """
        headers = await self.wire.headers(self.config)
        url = self.wire.models_url(self.config)
        if url is None:
            return
        try:
            reply = await self._transport.get(url, headers, min(CHECK_S, self.config.timeout_s))
        except TransientError as error:
            raise TeacherUnreachable(
                f"no answer from the teacher ({error.reason})",
                where=public_url(self._url),
                fix="start the server or mend teacher.base_url",
            ) from None
        except RowError:  # too large for a list of models
            return
        if reply.status in FATAL_AT_ONCE:
            judge(reply, self.server(headers))
        if reply.status == 200:
            self._known(
                self.wire.model_names(reply.body), _secrets(headers, url, self.config.extra_body)
            )

    async def send(self, requests: Sequence[Request]) -> Sequence[Reply]:
        (request,) = requests
        try:
            body = orjson.dumps(self.wire.body(request, self.config))
        except TypeError as error:  # a lone surrogate, an integer above 64 bits
            raise RowError(f"cannot be sent as JSON ({error})") from None
        headers = await self.wire.headers(self.config)
        reply = await self._transport.post(self._url, body, headers)
        limits = rate_limits(reply.headers)
        if reply.status != 200 or not self.wire.is_answer(reply.body):
            judge(reply, self.server(headers), limits)
        return [Reply(self._without_keys(reply.body, headers), limits)]

    def parse(self, raw: bytes) -> Completion:
        return self.wire.parse(raw, self.config)

    async def close(self) -> None:
        await self._transport.close()

    def _without_keys(self, raw: bytes, headers: Mapping[str, str]) -> bytes:
        """The answer as it is stored: a server that says our key back must not put it there."""
        if headers is not self._masked:  # a wire's are the same object while nothing changes
            self._masked, self._masks = headers, masks(headers, self._url, self.config)
        return masked(raw, self._masks)

    def server(self, headers: Mapping[str, str]) -> Place:
        """What an error of this server may say, and what it must not."""
        return Place(
            url=public_url(self._url),
            model=self.config.model,
            key_env=self.config.api_key_env,
            model_setting=self.wire.model_setting,
            secrets=_secrets(headers, self._url, self.config.extra_body),
        )

    def _known(self, names: list[str], secrets: tuple[str, ...]) -> None:
        wanted = self.config.model
        if not names or _bare(wanted) in {_bare(name) for name in names}:
            return
        close = difflib.get_close_matches(wanted, names, n=1)
        fix = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(names[:5])}"
        raise UnknownTeacherModel(
            f"has no model {wanted!r}", where=public_url(self._url), fix=clean(fix, secrets)
        )


def masks(headers: Mapping[str, str], url: URL, config: TeacherConfig) -> list[bytes]:
    """What `masked` looks for.

    Short keys are left alone: a placeholder such as EMPTY may be a word of the answer.
    """
    known = _secrets(headers, url, config.extra_body)
    return [key.encode() for key in known if len(key) >= MASKED]


def masked(raw: bytes, keys: list[bytes]) -> bytes:
    for key in keys:
        if key in raw:
            raw = raw.replace(key, b"[key]")
    return raw


def _secrets(headers: Mapping[str, str], url: URL, body: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys of headers, address and extra body, in every form in which a server may say them."""
    sent = [headers[name].removeprefix("Bearer ") for name in SECRET_HEADERS if name in headers]
    for query in (url.raw_query_string, url.query_string):
        pairs = (part.partition("=") for part in query.split("&"))
        sent += [value for name, _, value in pairs if value and name != "api-version"]
    sent += secrets_of(body)
    packed = [b64encode(text.encode()).decode() for key in sent for text in (f"Bearer {key}", key)]
    return (*sent, *(quote(key, safe=s) for key in sent for s in ("", "/")), *packed)


def _identity(config: TeacherConfig, url: URL) -> str:
    """In the request keys: the same server is the same teacher on whatever port it listens."""
    if config.identity:
        return config.identity
    host = url.host or ""
    return f"{config.model}@{'localhost' if is_loopback(host) else host}"


def _bare(name: str) -> str:
    """Lists name a model's full form, requests may use a shorter one.

    Google's "models/x" is asked for as "x", Ollama's "x:latest" as "x", a gateway's "x" as
    "x:free", and an alias of OpenAI or Anthropic is listed under its date.
    """
    name = name.removeprefix("models/").partition(":")[0]
    return re.sub(r"-(latest|\d{8}|\d{4}-\d\d-\d\d)$", "", name)
