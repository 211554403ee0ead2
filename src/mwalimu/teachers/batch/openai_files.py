"""OpenAI's batch API, which others speak as well: upload a file, start a batch, fetch its files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any

import orjson
from yarl import URL

from mwalimu.data.record import Json
from mwalimu.errors import TeacherError
from mwalimu.teachers.base import Request, RowError, TransientError
from mwalimu.teachers.batch.base import (
    UNREADABLE,
    BatchState,
    BatchStatus,
    Found,
    Gone,
    Limits,
    RequestFile,
    Result,
    Search,
    number,
    unix_time,
)
from mwalimu.teachers.batch.channel import FULL, Channel
from mwalimu.teachers.batch.transfer import Upload
from mwalimu.teachers.served import ServedTeacher
from mwalimu.teachers.status import clean, public_url
from mwalimu.teachers.wire import under

STATUS: dict[str, BatchStatus] = {
    "completed": "ended",
    "failed": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}
UNREADY = {"pending", "running", "notrunning"}  # of an uploaded file; Azure takes its time
FILE_POLL_S = 2.0
TAG = "mwalimu"
CLOCKS_S = 600.0  # by which ours and the provider's may differ
PURPOSE = "batch"


class OpenAIBatches:
    separator = b"\n"
    limits = Limits(50_000, 199_000_000)  # of 200 MB, with room for what is around it
    cached_discount = False

    def __init__(self, teacher: ServedTeacher) -> None:
        """Raises ConfigError where this address has no batches."""
        self._channel = Channel(teacher)
        self._root, self._endpoint = self._target(self._channel.url)
        self.place = public_url(self._root)

    def _target(self, url: URL) -> tuple[URL, str]:
        """(what /files and /batches hang from, the endpoint as a request names it)."""
        return url.parent.parent.with_query(url.query), "/v1/chat/completions"

    def line(self, key: str, request: Request) -> bytes:
        item = {
            "custom_id": key,
            "method": "POST",
            "url": self._endpoint,
            "body": self._body(request),
        }
        try:
            return orjson.dumps(item)
        except TypeError as error:
            raise RowError(f"cannot be sent as JSON ({error})") from None

    def _body(self, request: Request) -> Json:
        return self._channel.body(request)

    async def submit(self, file: RequestFile, tag: str) -> str:
        body = _multipart(file, tag)
        try:
            uploaded = await self._channel.upload(under(self._root, "files"), body)
            file_id = await self._ready(uploaded)
            batch = await self._channel.post(
                under(self._root, "batches"),
                {
                    "input_file_id": file_id,
                    "endpoint": self._endpoint,
                    "completion_window": "24h",
                    "metadata": {TAG: tag},
                },
            )
        except Gone as error:
            raise TeacherError(
                f"has no batch API ({error})", where=self.place, fix="set teacher.mode: online"
            ) from None
        return _id(batch)

    async def _ready(self, uploaded: Json) -> str:
        """Waits until a batch may be made of the file."""
        file_id = _id(uploaded)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._channel.config.timeout_s
        while (status := str(uploaded.get("status")).lower()) in UNREADY:
            if loop.time() > deadline:
                raise TransientError("the uploaded file does not get ready")
            await asyncio.sleep(FILE_POLL_S)
            uploaded = await self._channel.get(under(self._root, "files", file_id))
        if status == "error":
            detail = clean(str(uploaded.get("status_details") or ""))
            raise TeacherError(f"could not read the batch file ({detail})", where=self.place)
        return file_id

    async def poll(self, remote: str) -> BatchState:
        batch = await self._channel.get(under(self._root, "batches", remote))
        counts = batch.get("request_counts")
        counts = counts if isinstance(counts, dict) else {}
        completed = counts.get("completed")
        errors = _errors(batch)
        files = (batch.get("output_file_id"), batch.get("error_file_id"))
        return BatchState(
            remote,
            STATUS.get(str(batch.get("status")).lower(), "running"),
            done=number(completed) + number(counts.get("failed")),
            total=number(counts.get("total")),
            succeeded=None if completed is None else number(completed),
            detail="; ".join(clean(str(e.get("message") or e.get("code"))) for e in errors[:3]),
            queue_full=any(e.get("code") == FULL for e in errors),
            files=tuple(str(one) for one in files if one),
        )

    async def results(self, state: BatchState) -> AsyncGenerator[Result, None]:
        for file_id in state.files:
            url = under(self._root, "files", file_id, "content")
            async with aclosing(self._channel.lines(url)) as lines:
                async for line in lines:
                    yield self._result(line)

    def _result(self, line: bytes) -> Result:
        try:
            item = orjson.loads(line)
            key, response, error = str(item["custom_id"]), item.get("response"), item.get("error")
            if isinstance(response, dict) and response.get("status_code") is not None:
                status = int(response["status_code"])
                return Result(key, *self._channel.outcome(status, response.get("body")))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            return Result("", None, UNREADABLE, True)
        if not isinstance(error, dict):
            return Result(key, None, UNREADABLE, True)
        # Only what was completed is billed: not what expired, was cancelled or timed out.
        return Result(key, None, clean(str(error.get("message") or error.get("code"))))

    async def find(self, search: Search) -> Found:
        """By the tag in its metadata, or, where those were not kept, in its file's name."""
        url = under(self._root, "batches")
        async with aclosing(self._channel.listed(url, "after")) as batches:
            async for batch in batches:
                made = unix_time(batch.get("created_at"))
                if made is not None and made < search.since - CLOCKS_S:
                    continue
                if await self._is_tagged(batch, search.tag):
                    return Found(_id(batch))
        return Found(None)

    async def _is_tagged(self, batch: Json, tag: str) -> bool:
        if metadata := batch.get("metadata"):
            return isinstance(metadata, dict) and metadata.get(TAG) == tag
        file_id = batch.get("input_file_id")
        if not file_id:
            return False
        try:
            file = await self._channel.get(under(self._root, "files", str(file_id)))
        except Gone:
            return False
        return file.get("filename") == _file_name(tag)

    async def cancel(self, remote: str) -> None:
        with suppress(TeacherError, Gone):  # it ended in the meantime; the next poll says so
            await self._channel.post(under(self._root, "batches", remote, "cancel"), {})

    async def close(self) -> None:
        await self._channel.close()


def _id(body: Json) -> str:
    if not isinstance(body.get("id"), str):
        raise TransientError("an answer without an id", ambiguous=True)
    return str(body["id"])


def _errors(batch: Json) -> list[Mapping[str, Any]]:
    errors = batch.get("errors")
    data = errors.get("data") if isinstance(errors, dict) else errors
    return [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []


def _file_name(tag: str) -> str:
    return f"{TAG}-{tag}.jsonl"


def _multipart(file: RequestFile, tag: str) -> Upload:
    boundary = f"{TAG}-{tag}"  # random enough to occur in no request
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{PURPOSE}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; '
        f'filename="{_file_name(tag)}"\r\nContent-Type: application/jsonl\r\n\r\n'
    )
    tail = f"\r\n--{boundary}--\r\n"
    kind = f"multipart/form-data; boundary={boundary}"
    return Upload(head.encode(), file, tail.encode(), kind)
