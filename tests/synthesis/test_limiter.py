"""The limiter against servers that limit in the ways that servers do, in virtual time."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

import pytest

from mwalimu.synthesis.limiter import START, Limiter, backoff_s
from mwalimu.teachers.base import RateLimits, TransientError, Window
from tests.virtual_time import run_virtual


@dataclass
class TokenBucket:
    """`rate` a second, `capacity` at once; Retry-After in whole seconds, as servers give it."""

    rate: float
    capacity: float
    latency_s: float = 0.1
    told: bool = False
    retry_after: bool = True
    level: float = field(init=False)
    at: float = 0.0
    closed_until: float = 0.0
    admitted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    too_early: int = 0
    most: int = 0
    here: int = 0

    def __post_init__(self) -> None:
        self.level = self.capacity

    async def serve(self) -> RateLimits | None:
        now = asyncio.get_running_loop().time()
        self.level = min(self.capacity, self.level + (now - self.at) * self.rate)
        self.at = now
        self.too_early += now < self.closed_until
        if self.level < 1:
            wait = math.ceil((1 - self.level) / self.rate)
            self.refused.append(now)
            await asyncio.sleep(self.latency_s)
            # The client knows of it from here on.
            self.closed_until = max(self.closed_until, asyncio.get_running_loop().time() + wait)
            raise TransientError(
                "HTTP 429", rate_limited=True, retry_after_s=wait if self.retry_after else None
            )
        self.level -= 1
        self.admitted.append(now)
        self.here += 1
        self.most = max(self.most, self.here)
        await asyncio.sleep(self.latency_s)
        self.here -= 1
        limits = RateLimits(Window(self.rate * 60, self.level, 1.0))
        return limits if self.told else None


async def drive(limiter: Limiter, server: TokenBucket, workers: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()

    async def worker() -> None:
        while loop.time() < seconds:
            sent_at = await limiter.acquire()
            try:
                limiter.succeeded(100, await server.serve())
            except TransientError as error:
                limiter.rate_limited(error, sent_at)
            finally:
                limiter.release()

    await asyncio.gather(*(worker() for _ in range(workers)))


@pytest.mark.parametrize("rate", [2, 20, 200])
@pytest.mark.parametrize("told", [False, True])
def test_a_token_bucket_is_used_to_nine_tenths_and_hardly_provoked(rate: int, told: bool) -> None:
    server = TokenBucket(rate, capacity=rate, told=told)
    run_virtual(drive(Limiter(64), server, 64, 120.0))
    late = [t for t in server.admitted if t >= 20]
    assert len(late) / 100 >= 0.9 * rate
    # One burst of refusals, at most as many as were in flight, may teach what the server allows.
    wasted = len([t for t in server.refused if t >= 20])
    assert wasted < 0.01 * len(server.admitted) + 1
    assert server.too_early == 0
    if told:
        assert len(server.refused) <= START - rate if rate < START else not server.refused


def test_without_retry_after_it_backs_off_by_itself() -> None:
    server = TokenBucket(20, capacity=20, retry_after=False)
    run_virtual(drive(Limiter(64), server, 64, 120.0))
    assert len([t for t in server.admitted if t >= 20]) / 100 >= 0.9 * 20
    assert len([t for t in server.refused if t >= 20]) < 0.01 * len(server.admitted) + 1


def test_a_server_without_a_limit_is_never_throttled() -> None:
    server = TokenBucket(1e9, capacity=1e9, latency_s=0.05)
    run_virtual(drive(Limiter(64), server, 64, 10.0))
    assert server.most == 64
    assert len(server.admitted) >= 0.97 * 64 / 0.05 * 10


def test_overload_halves_what_is_in_flight_and_success_brings_it_back() -> None:
    async def scenario() -> None:
        limiter = Limiter(32)
        for _ in range(40):
            limiter.succeeded()
        assert limiter.limit == 32
        limiter.overloaded()
        limiter.overloaded()
        assert limiter.limit == 8
        for _ in range(8):
            limiter.succeeded()
        assert 8.9 < limiter.limit < 9.1
        for _ in range(20):
            limiter.overloaded()
        assert limiter.limit == 1

    run_virtual(scenario())


def test_no_more_than_the_limit_are_in_flight_and_turns_are_in_order() -> None:
    async def scenario() -> list[int]:
        limiter = Limiter(3)
        went: list[int] = []

        async def one(number: int) -> None:
            await limiter.acquire()
            went.append(number)
            assert limiter.in_flight <= 3
            await asyncio.sleep(1)
            limiter.release()

        await asyncio.gather(*(one(i) for i in range(20)))
        assert limiter.in_flight == 0
        return went

    assert run_virtual(scenario()) == list(range(20))


def test_a_cancelled_waiter_takes_no_slot() -> None:
    async def scenario() -> None:
        limiter = Limiter(1)
        await limiter.acquire()
        waiting = [asyncio.create_task(limiter.acquire()) for _ in range(5)]
        await asyncio.sleep(0)
        for task in waiting[:3]:
            task.cancel()
        limiter.release()
        # The turn was given just now; its owner goes away before it learns of it.
        waiting[3].cancel()
        await asyncio.sleep(0)
        await asyncio.wait_for(waiting[4], 1)
        limiter.release()
        assert limiter.in_flight == 0

    run_virtual(scenario())


def test_an_exhausted_quota_is_waited_for_before_it_refuses() -> None:
    async def scenario() -> float:
        limiter = Limiter(4)
        await limiter.acquire()
        limiter.succeeded(10, RateLimits(Window(None, 0.0, 7.0)))
        limiter.release()
        return await limiter.acquire()

    assert run_virtual(scenario()) == pytest.approx(7.0)


def test_a_token_quota_sets_the_pace_by_the_answers_mean() -> None:
    async def scenario() -> float:
        limiter = Limiter(64)
        for _ in range(61):  # 6,000 tokens a minute at 100 a request: one a second
            await limiter.acquire()
            limiter.succeeded(100, RateLimits(tokens=Window(6_000, 1e6, None)))
            limiter.release()
        return asyncio.get_running_loop().time()

    assert 57 <= run_virtual(scenario()) <= 62


def test_backoff_doubles_to_a_cap_and_depends_on_the_request_alone() -> None:
    key = "80" * 32
    waits = [backoff_s(attempt, key) for attempt in range(12)]
    assert waits == sorted(waits) and waits[-1] <= 30 and waits[0] >= 0.25
    assert backoff_s(3, key) == backoff_s(3, key) != backoff_s(3, "01" * 32)
