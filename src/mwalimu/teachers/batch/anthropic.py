"""Anthropic's message batches: the requests go inline, the results come as one stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import orjson

from mwalimu.errors import TeacherError
from mwalimu.teachers.base import Request, RowError, TransientError
from mwalimu.teachers.batch.base import (
    UNREADABLE,
    BatchState,
    Found,
    Gone,
    Limits,
    RequestFile,
    Result,
    Search,
    number,
    unix_time,
)
from mwalimu.teachers.batch.channel import Channel
from mwalimu.teachers.batch.transfer import Upload
from mwalimu.teachers.served import ServedTeacher
from mwalimu.teachers.status import clean, read_error
from mwalimu.teachers.wire import under

CLOCKS_S = 600.0  # by which ours and the provider's may differ
NOT_BILLED = {"errored", "canceled", "expired"}
COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")


class AnthropicBatches:
    separator = b",\n"
    limits = Limits(100_000, 255_000_000)  # of 256 MB, with room for what is around it
    cached_discount = True

    def __init__(self, teacher: ServedTeacher) -> None:
        self._channel = Channel(teacher)
        self.place = self._channel.place
        self._url = under(self._channel.url, "batches")

    def line(self, key: str, request: Request) -> bytes:
        try:
            return orjson.dumps({"custom_id": key, "params": self._channel.body(request)})
        except TypeError as error:
            raise RowError(f"cannot be sent as JSON ({error})") from None

    async def submit(self, file: RequestFile, tag: str) -> str:
        body = Upload(b'{"requests":[\n', file, b"\n]}", "application/json")
        try:
            batch = await self._channel.upload(self._url, body)
        except Gone as error:
            raise TeacherError(
                f"has no batch API ({error})", where=self.place, fix="set teacher.mode: online"
            ) from None
        if not isinstance(batch.get("id"), str):
            raise TransientError("an answer without an id", ambiguous=True)
        return str(batch["id"])

    async def poll(self, remote: str) -> BatchState:
        """Raises Gone also for an archived batch, whose results cannot be had any more."""
        batch = await self._channel.get(under(self._url, remote))
        if batch.get("archived_at"):
            raise Gone("its results were archived")
        processing, succeeded, *others = _counts(batch)
        return BatchState(
            remote,
            "ended" if batch.get("processing_status") == "ended" else "running",
            done=succeeded + sum(others),
            total=processing + succeeded + sum(others),
            succeeded=succeeded,
        )

    async def results(self, state: BatchState) -> AsyncGenerator[Result, None]:
        # Never `results_url` itself: the key goes to the host of the config and to no other.
        url = under(self._url, state.remote, "results")
        async with aclosing(self._channel.lines(url)) as lines:
            async for line in lines:
                yield self._result(line)

    def _result(self, line: bytes) -> Result:
        try:
            item = orjson.loads(line)
            key, result = str(item["custom_id"]), item["result"]
            kind = str(result["type"])
            if kind == "succeeded":
                return Result(key, *self._channel.outcome(200, result["message"]))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return Result("", None, UNREADABLE, True)
        message = clean(read_error(orjson.dumps(result.get("error"))).message)
        reason = f"{clean(kind)}{': ' if message else ''}{message}"
        return Result(key, None, reason, billed=kind not in NOT_BILLED)

    async def find(self, search: Search) -> Found:
        """Its batches bear no tag: the only one of that size and time, until its results tell."""
        found = []
        async with aclosing(self._channel.listed(self._url, "after_id")) as batches:
            async for batch in batches:
                made = unix_time(batch.get("created_at"))
                if made is not None and made < search.since - CLOCKS_S:
                    break  # the newest come first
                if sum(_counts(batch)) == search.requests and batch.get("id") not in search.taken:
                    found.append(str(batch["id"]))
        return Found(found[0]) if len(found) == 1 else Found(None, sure=not found)

    async def cancel(self, remote: str) -> None:
        with suppress(TeacherError, Gone):  # it ended in the meantime; the next poll says so
            await self._channel.post(under(self._url, remote, "cancel"), {})

    async def close(self) -> None:
        await self._channel.close()


def _counts(batch: dict[str, object]) -> list[int]:
    counts = batch.get("request_counts")
    return [number(counts.get(name)) for name in COUNTS] if isinstance(counts, dict) else [0] * 5
