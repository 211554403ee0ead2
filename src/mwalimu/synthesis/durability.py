"""Group commit: answers are written at once, and made durable together a few times a second.

Nobody's turn to ask waits for the disk: only the rows' coming out does.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from mwalimu.synthesis.store import AnswerStore

GATHER_S = 0.02  # between two fsyncs


class Durability:
    """What of a store survives a power cut. One a job; `close` it before the store."""

    def __init__(self, store: AnswerStore) -> None:
        self.store = store
        self._written = self._durable = store.end
        self._waiting: list[asyncio.Future[None]] = []
        self._running: asyncio.Task[None] | None = None

    def written(self) -> None:
        """An answer was put into the store."""
        self._written = self.store.end
        if self._running is None:
            self._running = asyncio.create_task(self._run())

    def mark(self) -> int:
        """For `reached`: everything that has been put so far."""
        return self._written

    async def reached(self, mark: int) -> None:
        """Returns when all that had been put at `mark` is durable. Raises DiskFull, OSError."""
        while self._durable < mark:
            if self._running is None:
                self._running = asyncio.create_task(self._run())
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter  # until the next fsync has ended, whatever it covered

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._durable < self._written:
                mark, failure = self._written, None
                try:
                    await loop.run_in_executor(None, self.store.sync)
                    self._durable = mark
                except OSError as error:
                    failure = error
                self._wake(failure)
                if failure is not None:
                    return  # the next who waits tries again, and hears of it
                await asyncio.sleep(GATHER_S)
        finally:
            self._running = None

    def _wake(self, failure: OSError | None) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if waiter.done():
                continue
            if failure is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(failure)
