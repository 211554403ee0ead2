"""What the batch APIs share: their calls, with the right exception for every refusal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import orjson
from yarl import URL

from mwalimu.data.record import Json
from mwalimu.errors import TeacherError
from mwalimu.teachers.base import Request, RowError, TransientError
from mwalimu.teachers.batch.base import Gone, QueueFull
from mwalimu.teachers.batch.transfer import Refused, Transfer, Upload
from mwalimu.teachers.http import HttpReply
from mwalimu.teachers.limits import rate_limits
from mwalimu.teachers.served import ServedTeacher, masked, masks
from mwalimu.teachers.status import clean, judge, public_url, read_error

CONNECTIONS = 4
PAGES = 20  # of a list of batches, at most
FULL = "token_limit_exceeded"


class Channel:
    """A teacher's server and key, for calls that are no chat."""

    def __init__(self, teacher: ServedTeacher) -> None:
        self._teacher = teacher
        self.config = teacher.config
        self.wire = teacher.wire
        self.url = self.wire.url(self.config)
        self._transfer = Transfer(
            concurrency=CONNECTIONS, timeout_s=self.config.timeout_s, idle_s=self.config.idle_s
        )

    @property
    def place(self) -> str:
        return public_url(self.url)

    def body(self, request: Request) -> Json:
        """As online, but for the streaming, of which batches know nothing. Raises RowError."""
        body = self.wire.body(request, self.config)
        body.pop("stream", None)
        return body

    async def get(self, url: URL) -> Json:
        headers = await self.wire.headers(self.config)
        return self._read(await self._transfer.get(url, headers, self.config.timeout_s), headers)

    async def post(self, url: URL, body: Json) -> Json:
        headers = await self.wire.headers(self.config)
        return self._read(await self._transfer.post(url, orjson.dumps(body), headers), headers)

    async def upload(self, url: URL, upload: Upload) -> Json:
        headers = await self.wire.headers(self.config)
        return self._read(await self._transfer.upload(url, upload, headers), headers)

    async def lines(self, url: URL) -> AsyncGenerator[bytes, None]:
        headers = await self.wire.headers(self.config)
        keys = masks(headers, url, self.config)
        try:
            async with aclosing(self._transfer.lines(url, headers)) as lines:
                async for line in lines:
                    if line.strip():
                        yield masked(line, keys)
        except Refused as refused:
            raise self._refusal(refused.reply, headers) from None

    async def listed(self, url: URL, cursor: str) -> AsyncGenerator[Json, None]:
        """The batches of this account, page by page; `cursor` is the parameter for the next."""
        page = url.update_query(limit=100)
        for _ in range(PAGES):
            reply = await self.get(page)
            batches = [one for one in reply.get("data") or () if isinstance(one, dict)]
            for batch in batches:
                yield batch
            if not batches or not reply.get("has_more"):
                return
            page = url.update_query({"limit": "100", cursor: str(batches[-1].get("id"))})

    def outcome(self, status: int, body: object) -> tuple[bytes | None, str, bool]:
        """(raw, reason, billed) of one request's own HTTP answer, by the rules of online ones."""
        raw = orjson.dumps(body)
        error = read_error(raw)
        if status == 200:
            if self.wire.is_answer(raw):
                return raw, "", True
            return None, "200 with something that is no chat answer", True
        if status == 400 and error.filtered:
            return raw, "", True
        message = clean(error.message)
        return None, f"HTTP {status}{': ' if message else ''}{message}", False

    async def close(self) -> None:
        await self._transfer.close()

    def _read(self, reply: HttpReply, headers: Mapping[str, str]) -> Json:
        if not 200 <= reply.status < 300:
            raise self._refusal(reply, headers)
        try:
            body: Any = orjson.loads(masked(reply.body, masks(headers, self.url, self.config)))
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict):
            raise TransientError(f"HTTP {reply.status} without JSON", ambiguous=True)
        return body

    def _refusal(self, reply: HttpReply, headers: Mapping[str, str]) -> Exception:
        place = self._teacher.server(headers)
        error = read_error(reply.body)
        message = clean(error.message, place.secrets)
        if FULL in error.codes:
            return QueueFull(message)
        if reply.status == 404:
            return Gone(message)
        try:
            judge(reply, place, rate_limits(reply.headers))
        except RowError:
            pass  # of the whole file, which is no row
        except (TransientError, TeacherError) as refusal:
            return refusal
        return TeacherError(
            f"refused the batch (HTTP {reply.status}): {message}",
            where=place.url,
            fix="mend what it names, or set teacher.mode: online",
        )
