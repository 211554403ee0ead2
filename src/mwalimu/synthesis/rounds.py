"""A group of rows asks its local teachers in step, so that every batch depends on the input alone.

A batch is asked when every row of the group that is still on its way waits for one; what was in the
store already or arrived late cannot change who is padded beside whom.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from mwalimu.synthesis.ask import Answer, Asker
from mwalimu.teachers.base import Request


class _Asked(NamedTuple):
    row: int
    asker: Asker
    request: Request
    answer: asyncio.Future[Answer]


class Rounds:
    """Of a group of `live` rows."""

    def __init__(self, live: int) -> None:
        self._live = live
        self._pending: list[_Asked] = []
        self._flushing: asyncio.Task[None] | None = None

    async def ask(self, row: int, asker: Asker, request: Request) -> Answer:
        """A served teacher is asked at once, a local one in the group's next round."""
        if asker.teacher.batch_size == 1:
            return await asker.ask(request)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending.append(_Asked(row, asker, request, future))
        self._check()
        return await future

    def ended(self) -> None:
        """A row of the group needs nothing more."""
        self._live -= 1
        self._check()

    async def stop(self) -> None:
        """Ends the round under way, if any; its rows are not waited for any more."""
        if self._flushing is not None:
            self._flushing.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._flushing

    def _check(self) -> None:
        if self._pending and len({asked.row for asked in self._pending}) == self._live:
            pending, self._pending = self._pending, []
            self._flushing = asyncio.create_task(_answer(pending))


async def _answer(pending: list[_Asked]) -> None:
    try:
        for asker in dict.fromkeys(asked.asker for asked in pending):
            await _answer_of(asker, [asked for asked in pending if asked.asker is asker])
    except BaseException as error:
        for asked in pending:
            if not asked.answer.done():
                asked.answer.set_exception(error)


async def _answer_of(asker: Asker, pending: list[_Asked]) -> None:
    """As many batches at once as the teacher takes."""
    ordered = sorted(pending, key=lambda asked: (_length(asked.request), asked.row))
    size = asker.teacher.batch_size
    batches = iter([ordered[start : start + size] for start in range(0, len(ordered), size)])

    async def lane() -> None:
        for batch in batches:
            answers = await asker.ask_batch([asked.request for asked in batch])
            for asked, answer in zip(batch, answers, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(answer)

    lanes = [asyncio.create_task(lane()) for _ in range(asker.teacher.concurrency)]
    try:
        await asyncio.gather(*lanes)
    finally:
        await cancel(lanes)


async def cancel(tasks: Iterable[asyncio.Task[object]]) -> None:
    """Those that have ended are left as they are."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task


def _length(request: Request) -> int:
    return sum(len(message.content) for message in request.messages)
