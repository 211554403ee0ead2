"""Events from another thread: all of them, in order, with as few wake-ups as there can be."""

import asyncio
import threading
from typing import Any

import pytest

from mwalimu.serving.completion import Completion
from mwalimu.serving.generation import Delta, Failed, Finished
from mwalimu.serving.pending import Bridge, Pending
from mwalimu.serving.problems import Problem, Refused

DONE = Finished(Completion([1], "", "stop", []), "", 0, 1, [])


class CountingLoop:
    """A loop that only counts how often it is woken, and delivers when it is told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def call_soon_threadsafe(self, call: Any) -> None:
        self.calls.append(call)


def test_what_waits_comes_in_one_wake_up() -> None:
    loop: Any = CountingLoop()
    bridge, seen = Bridge(loop), list[int]()
    for i in range(5):
        bridge.carry(lambda i=i: seen.append(i))  # type: ignore[misc]
    assert len(loop.calls) == 1 and not seen
    loop.calls[0]()
    assert seen == [0, 1, 2, 3, 4]
    bridge.carry(lambda: seen.append(5))
    assert len(loop.calls) == 2, "what comes later wakes again"


def test_an_ended_loop_does_no_harm() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    Bridge(loop).carry(lambda: None)


def test_nothing_is_lost_between_threads() -> None:
    count = 3000

    async def listen() -> list[list[str]]:
        pending = Pending(Bridge(asyncio.get_running_loop()), 2)
        listeners = [pending.listener(index) for index in (0, 1)]

        def write() -> None:
            for i in range(count):
                listeners[i % 2](Delta(str(i), 0))
            for one in listeners:
                one(DONE)

        thread = threading.Thread(target=write)
        thread.start()
        texts: list[list[str]] = [[], []]
        async for several in pending:
            for index, event in several:
                if isinstance(event, Delta):
                    texts[index].append(event.text)
        thread.join()
        return texts

    texts = asyncio.run(asyncio.wait_for(listen(), 60))
    assert texts == [[str(i) for i in range(start, count, 2)] for start in (0, 1)]


def test_a_failed_job_is_raised() -> None:
    async def listen() -> None:
        pending = Pending(Bridge(asyncio.get_running_loop()), 2)
        pending.listener(1)(Failed(Problem(500, "no")))
        async for _ in pending:
            pass

    with pytest.raises(Refused, match="no"):
        asyncio.run(asyncio.wait_for(listen(), 60))
