"""The pool against workers in memory: no cluster is needed to lose one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from mwalimu.errors import ConfigError, TeacherRefusesKey, TeacherUnreachable
from mwalimu.scale import pool as pool_module
from mwalimu.scale.exchange import Worker
from mwalimu.scale.pool import Pool
from mwalimu.teachers.base import Reply, RowError, TransientError

FACTS, OTHERS = ("tiny", "1"), ("tiny", "2")
ASKED = "what is asked"


class Lost(Exception):
    """As Ray says it."""


class Remote:
    def __init__(self, call: Callable[..., Awaitable[Any]]) -> None:
        self.remote = call


class Life(Worker):
    """One life of an actor, real but for its teacher; `dead` ends whatever is under way in it."""

    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self.actor = actor
        self.opened = False
        self.dead: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def is_open(self) -> bool:
        return self.opened

    async def work(self, asked: Any) -> Any:
        return await self.actor.answer()


class Actor:
    """Opens as `opens` says, one item a try, the last again and again; answers with its number."""

    def __init__(self, number: int, opens: Sequence[Any] = (FACTS,)) -> None:
        self.number = number
        self.opens = list(opens)
        self.opened = self.exchanges = 0
        self.answers: list[Any] = []
        self.under_way = self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.life = Life(self)
        self.open, self.exchange = Remote(self._open), Remote(self._exchange)

    def made_again(self) -> None:
        """As Ray does it; the driver hears of it only by what was under way."""
        self.life, self.under_way = Life(self), 0

    async def answer(self) -> Any:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.gate.wait()
        self.under_way -= 1
        found = self.answers.pop(0) if self.answers else [Reply(b"%d" % self.number)]
        if isinstance(found, Lost):
            self.life.dead.set_exception(found)
            self.made_again()
            await asyncio.Event().wait()
        return found

    async def _open(self) -> Any:
        found = self.opens[min(self.opened, len(self.opens) - 1)]
        self.opened += 1
        await asyncio.sleep(0)
        if isinstance(found, Lost):
            raise found
        self.life.opened = not isinstance(found, Exception)
        return found

    async def _exchange(self, asked: Any) -> Any:
        self.exchanges += 1
        dead, call = self.life.dead, asyncio.ensure_future(self.life.exchange(asked))
        await asyncio.wait((call, dead), return_when=asyncio.FIRST_COMPLETED)
        return (dead if dead.done() else call).result()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "PAUSE_S", 0.001)
    monkeypatch.setattr(pool_module, "PAUSE_CAP_S", 0.002)


def with_pool(
    work: Callable[[Pool, list[Actor]], Awaitable[None]],
    make: Callable[[], list[Actor]],
    *,
    places: int = 2,
    away_s: float = 30.0,
) -> None:
    async def go() -> None:
        actors = make()
        rest = iter(actors)
        killed: list[Any] = []
        pool = Pool(
            lambda: next(rest),
            killed.append,
            workers=len(actors),
            places=places,
            lost=(Lost,),
            away_s=away_s,
        )
        try:
            await work(pool, actors)
        finally:
            await pool.close()
        assert killed == actors

    asyncio.run(asyncio.wait_for(go(), 60))


def test_calls_spread_and_no_worker_has_more_than_its_places() -> None:
    async def work(pool: Pool, actors: list[Actor]) -> None:
        assert await pool.open() == FACTS
        while pool._opening:
            await asyncio.sleep(0)
        for actor in actors:
            actor.gate.clear()
        calls = [asyncio.create_task(pool.call(ASKED)) for _ in range(9)]
        while sum(actor.under_way for actor in actors) < 6:
            await asyncio.sleep(0)
        for actor in actors:
            actor.gate.set()
        answers = [replies[0].raw for replies in await asyncio.gather(*calls)]
        assert len(answers) == 9 and set(answers) == {b"0", b"1", b"2"}
        assert [actor.most for actor in actors] == [2, 2, 2]

    with_pool(work, lambda: [Actor(i) for i in range(3)])


def test_a_lost_worker_may_have_been_paid_and_comes_back() -> None:
    async def work(pool: Pool, actors: list[Actor]) -> None:
        await pool.open()
        (actor,) = actors
        actor.answers = [Lost("node")]
        actor.gate.clear()
        calls = [asyncio.create_task(pool.call(ASKED)) for _ in range(2)]
        while actor.under_way < 2:
            await asyncio.sleep(0)
        actor.gate.set()
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, TransientError) and error.ambiguous
            assert error.reason == "its worker was lost (Lost)"
        assert (await pool.call(ASKED))[0].raw == b"0"
        assert actor.opened == 2  # once for both losses

    with_pool(work, lambda: [Actor(0)])


def test_the_others_go_on_while_one_cannot_come_back() -> None:
    async def work(pool: Pool, actors: list[Actor]) -> None:
        await pool.open()
        while pool._opening:
            await asyncio.sleep(0)
        actors[0].answers = [Lost("node")]
        results = await asyncio.gather(
            *(pool.call(ASKED) for _ in range(6)), return_exceptions=True
        )
        assert 0 < sum(isinstance(one, TransientError) for one in results) <= 2  # its places
        for _ in range(20):
            assert (await pool.call(ASKED))[0].raw == b"1"
        assert actors[0].opened > 1

    with_pool(work, lambda: [Actor(0, [FACTS, Lost("still")]), Actor(1)])


def test_a_worker_made_again_unseen_was_not_asked() -> None:
    async def work(pool: Pool, actors: list[Actor]) -> None:
        await pool.open()
        actors[0].made_again()
        with pytest.raises(TransientError) as caught:
            await pool.call(ASKED)
        assert not caught.value.ambiguous
        assert (await pool.call(ASKED))[0].raw == b"0"

    with_pool(work, lambda: [Actor(0)], places=1)


def test_what_the_teacher_raises_comes_through_and_the_place_is_free_again() -> None:
    async def work(pool: Pool, actors: list[Actor]) -> None:
        await pool.open()
        actors[0].answers = [RowError("too long", billed=True), TransientError("busy")]
        with pytest.raises(RowError, match="too long"):
            await pool.call(ASKED)
        with pytest.raises(TransientError, match="busy"):
            await pool.call(ASKED)
        assert (await pool.call(ASKED))[0].raw == b"0"
        assert actors[0].opened == 1

    with_pool(work, lambda: [Actor(0)], places=1)


def test_nobody_there_is_told_as_unreachable_and_not_as_billed() -> None:
    async def work(pool: Pool, actors: list[Actor]) -> None:
        await pool.open()
        actors[0].answers = [Lost("node")]
        with pytest.raises(TransientError):
            await pool.call(ASKED)
        with pytest.raises(TransientError, match="no worker is there") as caught:
            await pool.call(ASKED)
        assert caught.value.unreachable and not caught.value.ambiguous

    with_pool(work, lambda: [Actor(0, [FACTS, Lost("for good")])], places=1, away_s=0.05)


def test_a_wrong_key_ends_the_opening_at_once() -> None:
    async def work(pool: Pool, actors: list[Actor]) -> None:
        with pytest.raises(TeacherRefusesKey, match="no key"):
            await pool.open()
        assert actors[0].opened == 1

    with_pool(work, lambda: [Actor(0, [TeacherRefusesKey("no key")])])


def test_workers_that_die_before_they_are_ready_are_given_up() -> None:
    async def work(pool: Pool, actors: list[Actor]) -> None:
        with pytest.raises(TeacherUnreachable, match="8 times in a row a worker died before"):
            await pool.open()

    with_pool(work, lambda: [Actor(0, [Lost("out of memory")])])


def test_a_node_with_another_model_stops_the_run() -> None:
    async def work(pool: Pool, actors: list[Actor]) -> None:
        await pool.open()
        while pool._opening:
            await asyncio.sleep(0)
        with pytest.raises(
            ConfigError, match=r"one node has \('tiny', '1'\), another \('tiny', '2'\)"
        ):
            await pool.call(ASKED)

    with_pool(work, lambda: [Actor(0), Actor(1, [OTHERS])])


def test_a_server_that_is_away_when_a_worker_returns_is_waited_for() -> None:
    async def work(pool: Pool, actors: list[Actor]) -> None:
        await pool.open()
        actors[0].answers = [Lost("node")]
        with pytest.raises(TransientError):
            await pool.call(ASKED)
        assert (await pool.call(ASKED))[0].raw == b"0"
        assert actors[0].opened == 3

    with_pool(work, lambda: [Actor(0, [FACTS, TeacherUnreachable("away"), FACTS])], places=1)


def test_a_fatal_error_wakes_those_who_wait_for_a_place() -> None:
    async def work(pool: Pool, actors: list[Actor]) -> None:
        await pool.open()
        actors[0].answers = [Lost("node")]
        calls = [asyncio.create_task(pool.call(ASKED)) for _ in range(3)]
        lost, *waited = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(lost, TransientError)
        assert all(isinstance(error, TeacherRefusesKey) for error in waited)

    with_pool(work, lambda: [Actor(0, [FACTS, TeacherRefusesKey("no key")])], places=1)


def test_a_call_that_is_cancelled_gives_its_place_back() -> None:
    async def work(pool: Pool, actors: list[Actor]) -> None:
        await pool.open()
        actors[0].gate.clear()
        call = asyncio.create_task(pool.call(ASKED))
        while not actors[0].under_way:
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        actors[0].gate.set()
        assert (await pool.call(ASKED))[0].raw == b"0"

    with_pool(work, lambda: [Actor(0)], places=1)
