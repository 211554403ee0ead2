"""One reader of the store for all who listen to events: each event is fetched and encoded once."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

from mwalimu.jobs.http.told import encoded, event_told
from mwalimu.jobs.records import Event
from mwalimu.jobs.store.job_store import JobStore

POLL = 0.2  # seconds between two looks at the store, while anybody listens
KEPT = 10_000  # of the newest events, for those who come back
PAGE = 1000
COMMENT_EVERY = 15.0  # seconds; so that a connection that is gone is noticed
LONGEST = 3600.0  # seconds that a stream lasts: who comes again shows a token again
COMMENT = b": still here\n\n"


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    job: str
    text: bytes


class Feed:
    """Lives on the event loop; the store is read in threads."""

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self.closed = False
        self._recent: deque[Line] = deque(maxlen=KEPT)
        self._since = 0  # all events after this one are among the recent
        self._reached = 0  # the newest one that was read
        self._listeners = 0
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._beginning = asyncio.Lock()

    def close(self) -> None:
        """Ends all who listen. To be called on the loop."""
        self.closed = True
        self._wake()

    async def past(self, after: int, job: str | None) -> AsyncIterator[bytes]:
        """All there is now."""
        newest = await asyncio.to_thread(self.store.newest_event)
        async for line in self._stored(after, newest, job):
            yield line.text

    async def follow(self, after: int, job: str | None) -> AsyncIterator[bytes]:
        """What there is, then what comes, until the service ends or it is time to come again."""
        self._listeners += 1
        end = time.monotonic() + LONGEST
        try:
            await self._begin()
            while not self.closed and time.monotonic() < end:
                changed, reached = self._changed, self._reached
                async for line in self._between(after, reached, job):
                    yield line.text
                after = max(after, reached)
                if reached == self._reached and not await _within(COMMENT_EVERY, changed):
                    yield COMMENT
        finally:
            self._listeners -= 1

    async def _begin(self) -> None:
        async with self._beginning:
            if self._reader is None or self._reader.done():
                # What came while nobody listened is read from the store, by those who want it.
                self._recent.clear()
                self._since = self._reached = await asyncio.to_thread(self.store.newest_event)
                self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while self._listeners and not self.closed:
            new = await asyncio.to_thread(self.store.events, after=self._reached, limit=PAGE)
            if new:
                self._keep([_line(event) for event in new])
            if len(new) < PAGE:
                await asyncio.sleep(POLL)

    def _keep(self, lines: list[Line]) -> None:
        dropped = len(self._recent) + len(lines) - KEPT
        if dropped > 0:
            self._since = self._recent[dropped - 1].number
        self._recent.extend(lines)
        self._reached = lines[-1].number
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _between(self, after: int, reached: int, job: str | None) -> AsyncIterator[Line]:
        """Those above `after`, up to `reached`, from memory where they are all there."""
        if after >= reached:
            return
        if after >= self._since:
            for line in _tail(self._recent, after):
                if line.number <= reached and job in (None, line.job):
                    yield line
            return
        async for line in self._stored(after, reached, job):
            yield line

    async def _stored(self, after: int, reached: int, job: str | None) -> AsyncIterator[Line]:
        while after < reached:
            page = await asyncio.to_thread(self.store.events, after=after, job=job, limit=PAGE)
            for event in page:
                if event.number > reached:
                    return
                yield _line(event)
            if len(page) < PAGE:
                return
            after = page[-1].number


def _tail(lines: deque[Line], after: int) -> list[Line]:
    """Those above `after`, found from the end: a listener is seldom far behind."""
    found: list[Line] = []
    for line in reversed(lines):
        if line.number <= after:
            break
        found.append(line)
    return found[::-1]


def _line(event: Event) -> Line:
    data = encoded(event_told(event)).decode()
    text = f"id: {event.number}\nevent: {event.kind}\ndata: {data}\n\n"
    return Line(event.number, event.job, text.encode())


async def _within(seconds: float, changed: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await changed.wait()
        return True
    return False
