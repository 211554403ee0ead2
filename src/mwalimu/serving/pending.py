"""The way of events from the decoder's thread to the requests on the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from mwalimu.serving.generation import Delta, Event, Failed, Finished
from mwalimu.serving.problems import Refused


class Bridge:
    """Calls made on any thread, carried to `loop`: those that wait, together in one wake-up.

    A wake-up is a system call, in which the decoder's thread gives the interpreter away; one a
    token would cost more than the token.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._waking = False

    def carry(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        if not self._waking:
            self._waking = True
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._waking = False  # before the last look: what comes after it wakes again
        while self._calls:
            self._calls.popleft()()


class Pending:
    """What becomes of a request's jobs. Iterated once: all that came since, each with its number.

    Iterating ends when each job has finished, and raises Refused where one has failed.
    """

    def __init__(self, bridge: Bridge, jobs: int) -> None:
        self._bridge = bridge
        self._unfinished = jobs
        self._events: list[tuple[int, Event]] = []
        self._came = asyncio.Event()

    def listener(self, index: int) -> Callable[[Event], None]:
        """What the job of this number notifies."""
        return lambda event: self._bridge.carry(lambda: self._take(index, event))

    async def __aiter__(self) -> AsyncIterator[list[tuple[int, Delta | Finished]]]:
        while self._unfinished:
            await self._came.wait()
            self._came.clear()
            events, self._events = self._events, []
            yield [(index, self._checked(event)) for index, event in events]

    def _take(self, index: int, event: Event) -> None:
        self._events.append((index, event))
        self._came.set()

    def _checked(self, event: Event) -> Delta | Finished:
        if isinstance(event, Failed):
            raise Refused(event.problem)
        self._unfinished -= isinstance(event, Finished)
        return event
