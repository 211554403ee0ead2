"""What passes between the driver and a worker: many questions and many answers in one call.

A call through Ray costs the driver some hundred microseconds, whatever is in it. So a worker is
handed what has gathered, works at each by itself, and one call at a time waits there for whatever
is done first. A slow answer holds no fast one, and what a dying worker held is exactly known.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any, NamedTuple

from mwalimu.teachers.base import TransientError

LINGER_S = 0.001
"""How long the driver gathers questions: answers that came together raise some."""
GATHER_SHARE, GATHER_CAP_S = 0.02, 0.05
"""An answer waits for others for such a share of the time that it took itself."""
AT_ONCE = 2
"""Exchanges of a worker: one waits there, the other brings new questions and takes its turn."""


class Numbered(NamedTuple):
    """A question, or what came of it."""

    number: int
    what: Any


class Worker(ABC):
    """The node's half. Ray may make it again, on another node, at any time: then it is not open."""

    def __init__(self) -> None:
        self._done: list[Numbered] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._turn = 0
        self._gather_s = 0.0
        self._bug: Exception | None = None

    @property
    @abstractmethod
    def is_open(self) -> bool: ...

    @abstractmethod
    async def work(self, asked: Any) -> Any:
        """The answer; what is expected to go wrong is returned, for Ray would wrap it."""

    async def exchange(self, asked: Sequence[Numbered]) -> list[Numbered] | None:
        """Begins with `asked`, and returns what is done, once something is.

        An earlier exchange that still waits gives way, with nothing. None where the worker is not
        open: then nothing of `asked` was begun.
        """
        if not self.is_open:
            return None
        for one in asked:
            self._under_way.add(asyncio.create_task(self._answer(one)))
        self._turn += 1
        turn = self._turn
        self._news.set()
        while turn == self._turn and not self._done:
            self._news.clear()
            await self._news.wait()
            if self._bug is not None:
                raise self._bug
            if self._done and self._under_way:
                await asyncio.sleep(self._gather_s)
        done, self._done = self._done, []
        return done

    def forget(self) -> None:
        """All that was asked: whoever asked has given it up."""
        for task in self._under_way:
            task.cancel()
        self._done = []

    async def _answer(self, one: Numbered) -> None:
        now = asyncio.get_running_loop().time
        began = now()
        try:
            found = await self.work(one.what)
        except Exception as error:
            self._bug = error
        else:
            if not self._done:
                self._gather_s = min(GATHER_CAP_S, GATHER_SHARE * (now() - began))
            self._done.append(Numbered(one.number, found))
        self._under_way -= {asyncio.current_task()}
        self._news.set()


class Line:
    """The driver's half, of one life of a worker; `lapsed` when it is over.

    `call` is the exchange, `lost` the errors that say that the worker is gone; `on_loss` is told.
    """

    numbers = count()  # of all lines: what an earlier life was asked is nobody's answer

    def __init__(
        self,
        call: Callable[[Sequence[Numbered]], Awaitable[list[Numbered] | None]],
        lost: tuple[type[Exception], ...],
        on_loss: Callable[[], None],
    ) -> None:
        self.call = call
        self.lost = lost
        self.on_loss = on_loss
        self.lapsed = False
        self._asked: list[Numbered] = []  # not handed over
        self._open: dict[int, asyncio.Future[Any]] = {}  # those too
        self._calls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, asked: Any) -> asyncio.Future[Any]:
        """What the worker returns.

        Raises:
            TransientError: it was lost; ambiguous if it may have begun.
        """
        assert not self.lapsed
        number = next(self.numbers)
        future = asyncio.get_running_loop().create_future()
        self._open[number] = future
        self._asked.append(Numbered(number, asked))
        self._hand_over_soon()
        return future

    async def close(self) -> None:
        self._lapse()
        calls = list(self._calls)
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    def _hand_over_soon(self) -> None:
        if self._timer is None and len(self._calls) < AT_ONCE:
            self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._hand_over)

    def _hand_over(self) -> None:
        """What has gathered; nothing of it is a call too, if none waits there for answers."""
        self._timer = None
        if self._asked or (self._open and not self._calls):
            asked, self._asked = self._asked, []
            task = asyncio.create_task(self._exchange(asked))
            self._calls.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if self._open and not self.lapsed:
            self._hand_over_soon()

    async def _exchange(self, asked: list[Numbered]) -> None:
        try:
            found = await self.call(asked)
        except self.lost as error:
            self._lose(f"its worker was lost ({type(error).__name__})")
        except Exception as error:
            self._fail(error)
        else:
            if found is None:
                self._asked += asked
                self._lose("its worker was made again")
            else:
                self._settle(found)

    def _settle(self, found: list[Numbered]) -> None:
        for number, what in found:
            future = self._open.pop(number, None)
            if future is not None and not future.done():  # whoever waited may be cancelled
                future.set_result(what)

    def _lose(self, reason: str) -> None:
        """Once; what was not handed over has not begun."""
        if self.lapsed:
            return
        unasked = {number for number, _ in self._asked}
        for number, future in self._open.items():
            if number in unasked:
                error = TransientError("its worker was lost before it was asked")
            else:
                error = TransientError(reason, ambiguous=True)
            _tell(future, error)
        self._lapse()
        self.on_loss()

    def _fail(self, error: Exception) -> None:
        for future in self._open.values():
            _tell(future, error)
        self._lapse()

    def _lapse(self) -> None:
        self.lapsed = True
        self._asked, self._open = [], {}
        if self._timer is not None:
            self._timer.cancel()


def _tell(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
