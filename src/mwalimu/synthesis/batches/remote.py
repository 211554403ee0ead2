"""The provider's side of a batch: sent, found again, watched to its end; the owner of retries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from mwalimu.config import TeacherConfig
from mwalimu.errors import TeacherError, TeacherUnreachable
from mwalimu.synthesis.batches.records import BatchFolder, BatchRecord
from mwalimu.synthesis.batches.under_way import OpenBatch
from mwalimu.synthesis.limiter import backoff_s
from mwalimu.teachers.base import TransientError
from mwalimu.teachers.batch.base import BatchClient, BatchState, Found, RequestFile, Search

FIRST_POLL_S, LAST_POLL_S, POLL_GROWTH = 5.0, 60.0, 1.5
LOOKS = 3  # for a batch that may just be appearing in the provider's list

T = TypeVar("T")


class NotTaken(Exception):
    """The provider has certainly not got the batch."""

    def __init__(self, error: TeacherError) -> None:
        super().__init__(str(error))
        self.error = error


class Remote:
    def __init__(
        self,
        client: BatchClient,
        config: TeacherConfig,
        folder: BatchFolder,
        on_state: Callable[[], None],
    ) -> None:
        self.client = client
        self.config = config
        self.folder = folder
        self.on_state = on_state

    async def submit(self, record: BatchRecord, file: RequestFile) -> bool:
        """False when it cannot be told whether the provider has it.

        Raises:
            NotTaken: it has not; QueueFull: not for now.
            TeacherUnreachable: it may have it, and the record stays as it is.
        """
        began, attempt = _now(), 0
        while True:
            try:
                record.remote = await self.client.submit(file, record.tag)
                break
            except TransientError as error:
                if error.ambiguous:
                    found = await self.look(record)
                    if not found.sure:
                        return False
                    if found.remote is not None:
                        record.remote = found.remote
                        break
                if _now() - began >= self.config.outage_s:
                    raise NotTaken(self._away(error.reason)) from None
                await self._pause(error, attempt, record.tag)
                attempt += 1
            except TeacherError as error:
                raise NotTaken(error) from None
        record.state = "running"
        self.folder.save(record)
        return True

    async def look(self, record: BatchRecord) -> Found:
        """Whether the provider has a batch whose id never arrived."""
        taken = frozenset(other.remote for other in self.folder.load() if other.remote)
        search = Search(record.tag, len(record.requests), record.submitted_at, taken)
        found = Found(None)
        for attempt in range(LOOKS):
            if attempt:
                await asyncio.sleep(FIRST_POLL_S)
            found = await self.persist(partial(self.client.find, search), record.tag)
            if found.remote is not None or not found.sure:
                break
        return found

    async def until_ended(self, batch: OpenBatch, *, cancel: bool) -> BatchState:
        """Raises Gone, TeacherError kinds."""
        remote = batch.record.remote
        assert remote is not None
        pause = FIRST_POLL_S
        while True:
            state = await self.persist(partial(self.client.poll, remote), batch.record.tag)
            batch.state = state
            self.on_state()
            if state.status != "running":
                return state
            if cancel:
                await self._cancel(remote)
            await asyncio.sleep(pause)
            pause = min(LAST_POLL_S, pause * POLL_GROWTH)

    async def persist(self, call: Callable[[], Awaitable[T]], tag: str) -> T:
        """Tries again what may succeed, for `outage_s`; a batch at the provider loses nothing."""
        began, attempt = _now(), 0
        while True:
            try:
                return await call()
            except TransientError as error:
                if _now() - began >= self.config.outage_s:
                    raise self._away(error.reason) from None
                await self._pause(error, attempt, tag)
                attempt += 1

    async def _cancel(self, remote: str) -> None:
        try:
            await self.client.cancel(remote)
        except TransientError:
            return  # asked again after the next poll

    async def _pause(self, error: TransientError, attempt: int, tag: str) -> None:
        wait = error.retry_after_s
        await asyncio.sleep(backoff_s(attempt, tag) if wait is None else wait)

    def _away(self, reason: str) -> TeacherUnreachable:
        return TeacherUnreachable(
            f"no answer for {self.config.outage_s:.0f} s ({reason})",
            where=self.client.place,
            fix="run the same command again; batches that were sent go on meanwhile",
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
