"""The driver's and the node's half of the line between them, without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from mwalimu.scale import exchange
from mwalimu.scale.exchange import Line, Numbered, Worker
from mwalimu.teachers.base import TransientError


class Gone(Exception):
    """As Ray says it."""


class Echo(Worker):
    """Answers a question with itself, once `gates[question]` is open, if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[Any] = []
        self.gates: dict[Any, asyncio.Event] = {}
        self.calls: list[list[Any]] = []
        self.dead: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.opened = True

    @property
    def is_open(self) -> bool:
        return self.opened

    async def work(self, asked: Any) -> Any:
        self.begun.append(asked)
        if asked in self.gates:
            await self.gates[asked].wait()
        if isinstance(asked, KeyError):
            raise asked
        return asked

    async def called(self, asked: Sequence[Numbered]) -> list[Numbered] | None:
        """As Ray calls it: what is under way fails when the worker dies."""
        self.calls.append([one.what for one in asked])
        self.last = call = asyncio.ensure_future(self.exchange(asked))
        await asyncio.wait((call, self.dead), return_when=asyncio.FIRST_COMPLETED)
        result: list[Numbered] | None = (self.dead if self.dead.done() else call).result()
        return result


def with_line(work: Callable[[Line, Echo, list[str]], Awaitable[None]]) -> None:
    """`work` is handed the losses that were told, too."""

    async def go() -> None:
        worker, losses = Echo(), list[str]()
        line = Line(worker.called, (Gone,), lambda: losses.append("lost"))
        try:
            await work(line, worker, losses)
        finally:
            await line.close()

    asyncio.run(asyncio.wait_for(go(), 60))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_what_gathers_goes_in_one_call_and_comes_back_in_one() -> None:
    async def work(line: Line, worker: Echo, _: list[str]) -> None:
        assert await asyncio.gather(*map(line.ask, range(100))) == list(range(100))
        assert worker.calls == [list(range(100))]

    with_line(work)


def test_a_slow_answer_holds_no_fast_one_and_no_question() -> None:
    async def work(line: Line, worker: Echo, _: list[str]) -> None:
        worker.gates["slow"] = asyncio.Event()
        slow, fast = line.ask("slow"), line.ask("fast")
        assert await fast == "fast"
        assert await line.ask("later") == "later"
        assert not slow.done()
        worker.gates["slow"].set()
        assert await slow == "slow"

    with_line(work)


def test_a_question_does_not_wait_for_the_call_that_waits_there() -> None:
    """That one gives way, and there are never more than two."""

    async def work(line: Line, worker: Echo, _: list[str]) -> None:
        gate = asyncio.Event()
        worker.gates = dict.fromkeys(range(9), gate)
        asked = []
        for number in range(9):
            asked.append(line.ask(number))
            await until(lambda: len(worker.begun) == len(asked))
            assert len(line._calls) <= exchange.AT_ONCE
        gate.set()
        assert await asyncio.gather(*asked) == list(range(9))

    with_line(work)


def test_answers_wait_for_others_a_share_of_their_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "GATHER_SHARE", 1e9)
    monkeypatch.setattr(exchange, "GATHER_CAP_S", 0.05)

    async def work(line: Line, worker: Echo, _: list[str]) -> None:
        worker.gates = {name: asyncio.Event() for name in ("a", "b", "never")}
        asked = {name: line.ask(name) for name in worker.gates}
        await until(lambda: len(worker.begun) == 3)
        worker.gates["a"].set()
        await asyncio.sleep(0.005)
        worker.gates["b"].set()
        await asked["a"]
        assert asked["b"].done() and not asked["never"].done()

    with_line(work)


def test_a_loss_is_told_once_and_tells_what_had_begun() -> None:
    async def work(line: Line, worker: Echo, losses: list[str]) -> None:
        worker.gates["held"] = asyncio.Event()
        done, held = line.ask("done"), line.ask("held")
        assert await done == "done"
        await until(lambda: len(line._calls) == 1 and len(worker.calls) > 1)
        unasked = line.ask("gathers")
        worker.dead.set_exception(Gone())
        results = await asyncio.gather(held, unasked, return_exceptions=True)
        reasons = [(str(error), getattr(error, "ambiguous", None)) for error in results]
        assert reasons == [
            ("its worker was lost (Gone)", True),
            ("its worker was lost before it was asked", False),
        ]
        assert line.lapsed and losses == ["lost"] and "gathers" not in worker.begun

    with_line(work)


def test_two_calls_that_fail_are_one_loss_and_there_is_no_third() -> None:
    async def never(asked: Sequence[Numbered]) -> list[Numbered] | None:
        await asyncio.Event().wait()
        return None

    async def work(line: Line, worker: Echo, losses: list[str]) -> None:
        worker.exchange = never  # type: ignore[method-assign]
        asked = []
        for number in range(2):
            asked.append(line.ask(number))
            await until(lambda: len(worker.calls) == len(asked))
        asked.append(line.ask(2))
        await asyncio.sleep(5 * exchange.LINGER_S)
        assert worker.calls == [[0], [1]]
        worker.dead.set_exception(Gone())
        errors = await asyncio.gather(*asked, return_exceptions=True)
        await until(lambda: not line._calls)
        assert losses == ["lost"]
        assert [isinstance(e, TransientError) and e.ambiguous for e in errors] == [1, 1, 0]

    with_line(work)


def test_a_worker_that_was_made_again_began_with_nothing_new() -> None:
    async def work(line: Line, worker: Echo, losses: list[str]) -> None:
        worker.gates["old"] = asyncio.Event()
        old = line.ask("old")
        await until(lambda: worker.begun == ["old"])
        worker.opened = False
        new = line.ask("new")
        errors = await asyncio.gather(old, new, return_exceptions=True)
        assert [isinstance(e, TransientError) and e.ambiguous for e in errors] == [True, False]
        assert worker.begun == ["old"] and losses == ["lost"]

    with_line(work)


def test_a_bug_on_the_node_reaches_whoever_waits() -> None:
    async def work(line: Line, worker: Echo, losses: list[str]) -> None:
        with pytest.raises(KeyError, match="bug"):
            await line.ask(KeyError("bug"))
        assert line.lapsed and losses == []

    with_line(work)


def test_what_an_earlier_life_was_asked_is_nobodys_answer() -> None:
    """The worker lives where only an answer was lost on its way: it forgets, or is not heard."""

    async def work(line: Line, worker: Echo, losses: list[str]) -> None:
        worker.gates["old"] = asyncio.Event()
        old = line.ask("old")
        await until(lambda: worker.begun == ["old"])
        line._lose("an answer was lost on its way")
        with pytest.raises(TransientError):
            await old
        worker.last.cancel()
        after = Line(worker.called, (Gone,), lambda: None)
        worker.gates["old"].set()
        assert await after.ask("new") == "new"
        await after.close()

    with_line(work)


def test_a_worker_that_forgets_stops_what_was_under_way() -> None:
    async def work(line: Line, worker: Echo, losses: list[str]) -> None:
        worker.gates["old"] = asyncio.Event()
        old = line.ask("old")
        await until(lambda: worker.begun == ["old"])
        worker.forget()
        await asyncio.sleep(0)
        worker.gates["old"].set()
        assert await line.ask("new") == "new"
        assert not old.done()

    with_line(work)


def test_whoever_is_cancelled_is_not_told() -> None:
    async def work(line: Line, worker: Echo, losses: list[str]) -> None:
        line.ask("cancelled").cancel()
        assert await line.ask("kept") == "kept"

    with_line(work)
