"""How many requests may be in flight: additive increase, multiplicative decrease (AIMD).

One limiter for all workers. A server's Retry-After stops all of them, not only the one it told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

DECREASE = 0.5
BACKOFF_S, BACKOFF_CAP_S = 0.5, 30.0


class Limiter:
    def __init__(self, concurrency: int) -> None:
        self.ceiling = concurrency
        self.limit = float(concurrency)
        self.in_flight = 0
        self._changed = asyncio.Condition()
        self._resume_at = 0.0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Waits for a free slot and for the end of a pause."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.in_flight < int(self.limit))
            self.in_flight += 1
        try:
            while (wait := self._resume_at - _now()) > 0:
                await asyncio.sleep(wait)
            yield
        finally:
            async with self._changed:
                self.in_flight -= 1
                self._changed.notify_all()

    def succeeded(self) -> None:
        """One more in flight after a whole round of successes."""
        self.limit = min(self.ceiling, self.limit + 1 / self.limit)

    def rate_limited(self) -> None:
        """Fewer in flight, never none."""
        self.limit = max(1.0, self.limit * DECREASE)

    def pause(self, seconds: float) -> None:
        """Nobody sends before this has passed."""
        self._resume_at = max(self._resume_at, _now() + seconds)


def backoff_s(attempt: int, key: str) -> float:
    """Doubling, capped, with a jitter of up to a half that depends on the request alone."""
    jitter = int(key[:8], 16) / 0xFFFFFFFF
    return float(min(BACKOFF_CAP_S, BACKOFF_S * 2**attempt) * (0.5 + 0.5 * jitter))


def _now() -> float:
    return asyncio.get_running_loop().time()
