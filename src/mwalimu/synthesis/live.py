"""What a watcher sees while the teachers answer: rows, rejects by kind, speed, money, waiting."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from mwalimu.progress import Progress
from mwalimu.synthesis.job import Job

EVERY_S = 0.5


class LiveView:
    """`counts` are the outcomes so far, kept by the stage."""

    def __init__(
        self, job: Job, label: str, total: int, counts: Counter[str], on_progress: Progress
    ) -> None:
        self.job = job
        self.label = label
        self.total = total
        self.counts = counts
        self.on_progress = on_progress
        self._began = time.monotonic()
        self._paid_before = job.budget.spent[0]

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Reports every half second, also while nothing comes in, and once at the end."""
        self._report()
        ticker = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            ticker.cancel()
            with suppress(asyncio.CancelledError):
                await ticker
            self._report()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            self._report()

    def _report(self) -> None:
        self.on_progress(self.label, self._done(), self.total, self.note())

    def _done(self) -> int:
        """Rows with an outcome. A local teacher's come in large groups: there the answers count."""
        calls = [asker.calls for asker in self.job.askers.values()]
        if len(calls) > 1 or self.job.config.generate.conversation != "last":
            return self.counts.total()
        answered = calls[0].answered + calls[0].reused
        return max(self.counts.total(), min(answered, self.total))

    def note(self) -> str:
        parts = [f"{self.counts['ok']} ok"]
        parts += [f"{n} {status}" for status, n in sorted(self.counts.items()) if status != "ok"]
        askers = list(self.job.askers.values())
        if in_flight := sum(asker.limiter.in_flight for asker in askers):
            parts.append(f"{in_flight} in flight")
        tokens = sum(asker.calls.completion_tokens for asker in askers)
        if tokens and (elapsed := time.monotonic() - self._began) > 0:
            parts.append(f"{tokens / elapsed:,.0f} tok/s")
        parts += self._money()
        if (wait := max(asker.limiter.paused_s() for asker in askers)) > 1:
            parts.append(f"the teacher asks to wait {wait:.0f} s")
        return ", ".join(parts)

    def _money(self) -> list[str]:
        budget = self.job.budget
        if budget.unpriced:
            return ["cost unknown"]
        if not budget.spent[0]:
            return []
        spent = budget.spent[0] / 1e9
        done = self.counts.total()
        if not done or done >= self.total:
            return [f"${spent:.4f}"]
        now = (budget.spent[0] - self._paid_before) / 1e9
        return [f"${spent:.4f} of about ${spent + now / done * (self.total - done):.4f}"]
