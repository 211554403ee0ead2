"""Rows -> outcomes, in input order, with bounded memory, whatever the concurrency.

A program says what is asked for a row and what its answers amount to; the engine runs the programs
of many rows at once and gives their outcomes out in order. A slow row holds back the output, not
the work on the many rows behind it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from mwalimu.data.record import Record
from mwalimu.synthesis.answer import Row
from mwalimu.synthesis.ask import Answer, Asker
from mwalimu.synthesis.durability import Durability
from mwalimu.synthesis.rounds import Rounds, cancel
from mwalimu.synthesis.verdict import Outcome
from mwalimu.teachers.base import Request

AHEAD = 2048  # rows
BATCHES_A_GROUP = 16  # a local teacher's rows are sorted by length within so many batches

Program = Callable[[Row], Awaitable[Outcome]]
_Ended = tuple[list[Outcome], int]
"""The outcomes of a group, and the mark at which their answers had been written."""


class Item(NamedTuple):
    """What is to be asked: a record, and which draw of its answer this is."""

    record: Record
    sample: int = 0


class Engine:
    """`batch_size` is the largest of the job's teachers; above 1 rows go in groups, in step.

    `at_once` is how many batches can be under way: as many groups are as keep them so while one of
    them waits for its last batch.
    """

    def __init__(
        self, program: Program, durability: Durability, batch_size: int = 1, at_once: int = 1
    ) -> None:
        self.program = program
        self.durability = durability
        self.group_size = 1 if batch_size == 1 else batch_size * BATCHES_A_GROUP
        self.ahead = AHEAD if batch_size == 1 else 1 + math.ceil((at_once - 1) / BATCHES_A_GROUP)

    async def run(self, items: Iterable[Item | Outcome]) -> AsyncGenerator[Outcome]:
        """One outcome an item, in order, when its answers are durable.

        An outcome among the items passes as it is.
        """
        groups = self._groups(items)
        window: deque[asyncio.Task[_Ended] | Outcome] = deque()
        try:
            for group in islice(groups, self.ahead):
                window.append(self._start(group))
            while window:
                first = window.popleft()
                if isinstance(first, Outcome):
                    outcomes, mark = [first], 0
                else:
                    window.appendleft(first)  # still ours to cancel while we wait
                    outcomes, mark = await first
                    window.popleft()
                if (following := next(groups, None)) is not None:
                    window.append(self._start(following))
                await self.durability.reached(mark)
                for outcome in outcomes:
                    yield outcome
        finally:
            await cancel([task for task in window if isinstance(task, asyncio.Task)])

    def _groups(self, items: Iterable[Item | Outcome]) -> Iterator[list[Item | Outcome]]:
        iterator = iter(items)
        while group := list(islice(iterator, self.group_size)):
            yield group

    def _start(self, group: list[Item | Outcome]) -> asyncio.Task[_Ended] | Outcome:
        if self.group_size > 1:
            return asyncio.create_task(self._in_step(group))
        (item,) = group
        return item if isinstance(item, Outcome) else asyncio.create_task(self._alone(item))

    async def _alone(self, item: Item) -> _Ended:
        outcome = await self.program(Row(item.record, item.sample, _ask))
        return [outcome], self.durability.mark()

    async def _in_step(self, group: list[Item | Outcome]) -> _Ended:
        rounds = Rounds(sum(isinstance(item, Item) for item in group))

        async def one(number: int, item: Item | Outcome) -> Outcome:
            if isinstance(item, Outcome):
                return item

            async def ask(asker: Asker, request: Request) -> Answer:
                return await rounds.ask(number, asker, request)

            try:
                return await self.program(Row(item.record, item.sample, ask))
            finally:
                rounds.ended()

        tasks = [asyncio.create_task(one(number, item)) for number, item in enumerate(group)]
        try:
            return list(await asyncio.gather(*tasks)), self.durability.mark()
        except BaseException:
            await rounds.stop()
            await cancel(tasks)
            raise


def _ask(asker: Asker, request: Request) -> Awaitable[Answer]:
    """Through the asker's own door, which may be one that masks."""
    return asker.ask(request)
