"""Workers on a cluster's nodes, as many places to ask at as they have, and what when one dies.

A place is the right to have one question under way at one life of a worker, which is a `Line`. Free
places queue; a question takes the first, so they spread over all workers. When a worker dies its
places lapse with it, and it gets new ones when Ray has made it again, on whatever node, and it is
open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from mwalimu.errors import ConfigError, MwalimuError, TeacherUnreachable
from mwalimu.scale.exchange import Line
from mwalimu.teachers.base import TransientError

PAUSE_S, PAUSE_CAP_S = 0.2, 5.0  # between two tries to open a worker
HOPELESS = 8  # tries to open a worker before any was ever open


class Pool:
    """`start` makes an actor: a `Worker` with `open()`, which says facts (see `worker.py`).

    The facts have to be those of every worker. `lost` are the errors that say that an actor is
    gone. `away_s`: how long a call waits for a place while no worker is there.
    """

    def __init__(
        self,
        start: Callable[[], Any],
        kill: Callable[[Any], None],
        *,
        workers: int,
        places: int,
        lost: tuple[type[Exception], ...],
        away_s: float,
    ) -> None:
        self.start = start
        self.kill = kill
        self.places = places
        self.lost = lost
        self.away_s = away_s
        self.workers = workers
        self.facts: Any = None
        self._actors: list[Any] = []
        self._lines: dict[int, Line] = {}  # of each worker its last
        self._free: asyncio.Queue[Line | None] = asyncio.Queue()  # None wakes whoever waits
        self._opening: set[asyncio.Task[None]] = set()
        self._first: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._fatal: MwalimuError | None = None

    async def open(self) -> Any:
        """The facts, when the first worker is ready; the others come when they are.

        Raises:
            MwalimuError: what the first to say something says.
            TeacherUnreachable: the workers die before they are ready.
        """
        self._actors = [self.start() for _ in range(self.workers)]
        for worker in range(self.workers):
            self._open_again(worker)
        return await self._first

    async def call(self, asked: Any) -> Any:
        """Raises TransientError when the worker dies meanwhile, and what it returns as an error."""
        line = await self._place()
        try:
            result = await line.ask(asked)
        finally:
            if not line.lapsed:
                self._free.put_nowait(line)
        if isinstance(result, Exception):
            raise result
        return result

    async def close(self) -> None:
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for line in self._lines.values():
            await line.close()
        for actor in self._actors:
            with suppress(*self.lost):
                self.kill(actor)

    async def _place(self) -> Line:
        """The first free one of a worker that still lives."""
        try:
            async with asyncio.timeout(self.away_s):
                while True:
                    line = await self._free.get()
                    if self._fatal is not None:
                        self._free.put_nowait(line)  # for the next who waits
                        raise self._fatal
                    if line is not None and not line.lapsed:
                        return line
        except TimeoutError:
            raise TransientError("no worker is there", unreachable=True) from None

    def _open_again(self, worker: int) -> None:
        task = asyncio.create_task(self._open(worker))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, worker: int) -> None:
        tries, pause_s = 0, PAUSE_S
        while True:
            found = await self._asked_to_open(worker)
            if not isinstance(found, Exception):
                self._welcome(worker, found)
                return
            tries += 1
            if self._stops(found, tries):
                return
            await asyncio.sleep(pause_s)
            pause_s = min(PAUSE_CAP_S, 2 * pause_s)

    async def _asked_to_open(self, worker: int) -> Any:
        try:
            return await self._actors[worker].open.remote()
        except self.lost as error:
            return error

    def _welcome(self, worker: int, facts: Any) -> None:
        self.facts = self.facts or facts
        if facts != self.facts:
            self._fail(_differs(self.facts, facts))
            return
        call = self._actors[worker].exchange.remote
        line = Line(call, self.lost, partial(self._open_again, worker))
        self._lines[worker] = line
        for _ in range(self.places):
            self._free.put_nowait(line)
        if not self._first.done():
            self._first.set_result(facts)

    def _stops(self, error: Exception, tries: int) -> bool:
        """Whether it is no use to try again: never while others may work and it may come back."""
        passing = isinstance(error, self.lost) or (
            isinstance(error, TeacherUnreachable) and self.facts is not None
        )
        if not passing:
            assert isinstance(error, MwalimuError), error
            self._fail(error)
        elif self.facts is None and tries >= HOPELESS:
            self._fail(
                TeacherUnreachable(
                    f"{tries} times in a row a worker died before it was ready ({_kind(error)})",
                    where="scale",
                    fix="look at Ray's logs of the node: a model may not fit its memory",
                )
            )
        return self._fatal is not None

    def _fail(self, error: MwalimuError) -> None:
        self._fatal = error
        self._free.put_nowait(None)
        if not self._first.done():
            self._first.set_exception(error)


def _differs(first: Any, other: Any) -> ConfigError:
    return ConfigError(
        f"one node has {first}, another {other}",
        where="scale",
        fix="give all nodes the same files and the same version of mwalimu",
    )


def _kind(error: Exception) -> str:
    return type(error).__name__
