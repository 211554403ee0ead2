"""How fast and how much at once: one limiter for all workers of a teacher.

How much at once: doubles from a small start, one more a round of successes after the first trouble,
half when the server is overloaded (AIMD). How fast: unlimited until a server says otherwise, by its
rate-limit headers or by a 429. A Retry-After stops everybody. A server with a token bucket is empty
at each 429, so what it let through between two of them is its rate, exactly.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from functools import cached_property

from mwalimu.teachers.base import RateLimits, TransientError, Window

START, DECREASE = 16, 0.5
BELOW, GROWTH_A_SECOND = 0.98, 0.003  # of the rate measured at the last 429
STRAY_S = 1.0  # a 429 without Retry-After counts when another came within so long before it
CATCH_UP_S = 0.05  # a late timer may be made good for so long
PAUSE_S, PAUSE_CAP_S = 1.0, 60.0  # after a 429 without Retry-After
BACKOFF_S, BACKOFF_CAP_S = 0.5, 30.0


class Limiter:
    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.limit = float(min(START, ceiling))
        self.in_flight = 0
        self.pace = math.inf  # requests a second
        self._growing = True
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._next_at = 0.0
        self._told = math.inf
        self._tokens_a_minute = math.inf
        self._mean_tokens, self._counted = 0.0, 0
        self._event_at: float | None = None
        self._begun: float | None = None
        self._passed = 0  # successes since the last 429
        self._refused_at = -math.inf
        self._in_a_row = 0  # 429s without a success between
        self._grown_at = 0.0

    @cached_property
    def _now(self) -> Callable[[], float]:
        return asyncio.get_running_loop().time

    async def acquire(self) -> float:
        """Waits for the turn to send; the time of it, for `rate_limited`."""
        now = self._now()
        if self._begun is None:
            self._begun = now
        if not self._waiters and self._wait_s(now) == 0.0:
            return self._take(now)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._pump()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()
            raise
        # A 429 may have come between the turn and its taker's waking.
        while (wait := self._not_before - self._now()) > 0:
            await asyncio.sleep(wait)
        return self._now()

    def release(self) -> None:
        self.in_flight -= 1
        if self._waiters:
            self._pump()

    def succeeded(self, tokens: int = 0, limits: RateLimits | None = None) -> None:
        """An answer came, of so many tokens in and out."""
        self._passed += 1
        self._in_a_row = 0
        if self.limit < self.ceiling:
            step = 1.0 if self._growing else 1 / self.limit
            self.limit = min(float(self.ceiling), self.limit + step)
        if tokens:
            self._counted = min(self._counted + 1, 100)
            self._mean_tokens += (tokens - self._mean_tokens) / self._counted
        if limits is not None:
            self._heed(limits)
        if self.pace < math.inf:
            self._grow()

    def overloaded(self) -> None:
        """Fewer in flight, never none."""
        self._growing = False
        self.limit = max(1.0, self.limit * DECREASE)

    def rate_limited(self, error: TransientError, sent_at: float) -> None:
        """A 429. Those that were under way when the first of a burst came are the same event."""
        now = self._now()
        if error.limits is not None:
            self._heed(error.limits)
        stray = error.retry_after_s is None and now - self._refused_at > STRAY_S
        self._refused_at = now
        if stray:
            return  # one refusal alone tells nothing of a rate; its sender backs off by itself
        if self._event_at is None or sent_at > self._event_at:
            self._slow_down(now)
        if error.retry_after_s is not None:
            self.pause(error.retry_after_s)
        elif self._not_before <= now:
            self.pause(min(PAUSE_CAP_S, PAUSE_S * 2 ** (self._in_a_row - 1)))

    def pause(self, seconds: float) -> None:
        """Nobody sends before this has passed."""
        self._not_before = max(self._not_before, self._now() + seconds)

    def paused_s(self) -> float:
        """How long nobody may send, as the server wishes."""
        return max(0.0, self._not_before - self._now()) if self._not_before else 0.0

    def _slow_down(self, now: float) -> None:
        since = self._event_at if self._event_at is not None else self._begun
        elapsed = now - (since if since is not None else now)
        self._in_a_row += 1
        if self._passed and elapsed > 0:
            self.pace = min(self.pace, BELOW * self._passed / elapsed)
        elif self.pace < math.inf:
            self.pace *= DECREASE
        self._event_at, self._passed, self._grown_at = now, 0, now

    def _grow(self) -> None:
        """A limit may have been raised, or was measured too low: look a little higher."""
        now = self._now()
        if (elapsed := now - self._grown_at) >= 1.0:
            self._grown_at = now
            self.pace *= 1 + GROWTH_A_SECOND * min(elapsed, 10.0)

    def _heed(self, limits: RateLimits) -> None:
        if limits.requests.limit_per_minute is not None:
            self._told = limits.requests.limit_per_minute / 60
        if limits.tokens.limit_per_minute is not None:
            self._tokens_a_minute = limits.tokens.limit_per_minute
        self.pause(max(_refill_s(limits.requests, 1), _refill_s(limits.tokens, self._mean_tokens)))

    @property
    def rate(self) -> float:
        """Requests a second at most now; infinity where nothing limits them."""
        by_tokens = math.inf
        if self._mean_tokens:
            by_tokens = self._tokens_a_minute / 60 / self._mean_tokens
        return min(self.pace, self._told, by_tokens)

    def _wait_s(self, now: float) -> float:
        """0 when a request may go now; infinity when one has to end first."""
        if self.in_flight >= int(self.limit):
            return math.inf
        return max(0.0, self._not_before - now, self._next_at - now)

    def _take(self, now: float) -> float:
        self.in_flight += 1
        rate = self.rate
        if rate < math.inf:
            self._next_at = max(self._next_at, now - CATCH_UP_S) + 1 / rate
        return now

    def _pump(self) -> None:
        """Lets as many go as may, in the order in which they came; comes back when time is up."""
        now = self._now()
        while self._waiters:
            if self._waiters[0].done():  # cancelled
                self._waiters.popleft()
                continue
            wait = self._wait_s(now)
            if wait == 0.0:
                self._take(now)
                self._waiters.popleft().set_result(None)
                continue
            if wait < math.inf and self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(wait, self._on_timer)
            return

    def _on_timer(self) -> None:
        self._timer = None
        self._pump()


def _refill_s(window: Window, need: float) -> float:
    """How long until `need` is there again; 0 where it is, or where nothing is known.

    Some servers' reset is that of the whole quota: what is missing of it may be there sooner.
    """
    if window.remaining is None or window.remaining >= need or window.reset_s is None:
        return 0.0
    if window.limit_per_minute:
        missing_s = (need - window.remaining) / window.limit_per_minute * 60
        return min(window.reset_s, missing_s)
    return window.reset_s


def backoff_s(attempt: int, key: str) -> float:
    """Doubling, capped, with a jitter of up to a half that depends on the request alone."""
    jitter = int(key[:8], 16) / 0xFFFFFFFF
    return float(min(BACKOFF_CAP_S, BACKOFF_S * 2 ** min(attempt, 16)) * (0.5 + 0.5 * jitter))
