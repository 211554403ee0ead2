"""Hard caps on dollars, tokens and requests: what is in flight is reserved at its worst case.

Spending is counted from the answer store, so a cap holds over all the lives of a run folder. A
request whose end is unknown (a crash, a connection lost after it went out) counts at its worst.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from mwalimu.config import BudgetConfig, TeacherConfig
from mwalimu.errors import BudgetReached, ConfigError
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.index import Spend
from mwalimu.teachers.base import Request, Usage

TURN_TOKENS = 16  # a chat template's own tokens around a message, at most
UNITS = ("usd", "tokens", "requests")


class Prices:
    """What a teacher's tokens cost, in nano-dollars; None where that is unknown: not zero.

    A teacher on this machine costs nothing.
    """

    def __init__(self, teacher: TeacherConfig) -> None:
        self.free = teacher.resolved_kind in ("local", "vllm", "fake")
        self._teacher = teacher

    def nano_usd(self, usage: Usage) -> int | None:
        if self.free:
            return 0
        usd = self._teacher.usd(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
        return None if usd is None else round(usd * 1e9)

    def actual(self, usage: Usage) -> Cost:
        return Cost(usage.prompt_tokens, usage.completion_tokens, self.nano_usd(usage))

    def worst_case(self, request: Request) -> Cost:
        """An upper bound: no tokenizer makes more tokens than there are UTF-8 bytes."""
        prompt, calls = 0, False
        for message in request.messages:
            prompt += len(message.content.encode("utf-8", "surrogatepass")) + TURN_TOKENS
            calls = calls or bool(message.tool_calls)
        if request.tools or request.schema or calls:
            prompt += len(repr((request.tools, request.schema, request.messages)))
        completion = request.sampling.max_tokens
        return Cost(prompt, completion, self.nano_usd(Usage(prompt, completion)))


class Budget:
    """`spent` begins with what earlier lives of the run spent."""

    def __init__(self, caps: BudgetConfig, earlier: Spend) -> None:
        self.caps = (
            None if caps.usd is None else round(caps.usd * 1e9),
            caps.tokens,
            caps.requests,
        )
        self._capped = any(cap is not None for cap in self.caps)
        self.spent = [
            earlier.nano_usd + earlier.open_nano_usd,
            earlier.prompt + earlier.completion + earlier.open_tokens,
            earlier.requests,
        ]
        self.unpriced = earlier.unpriced
        self._held = [0, 0, 0]
        self._waiters: deque[asyncio.Future[None]] = deque()

    def require_prices(self, teachers: list[TeacherConfig]) -> None:
        """Raises ConfigError where a cap in dollars could not be kept."""
        for teacher in teachers:
            if self.caps[0] is not None and Prices(teacher).nano_usd(Usage(1, 1)) is None:
                raise ConfigError(
                    f"is set, but what {teacher.model} costs is unknown",
                    where="budget.usd",
                    fix="set teacher.usd_per_million_input and _output",
                )

    async def reserve(self, *worst: Cost) -> None:
        """Waits while requests in flight might turn out cheaper than reserved.

        Several are a batch, which goes out whole: reserved one by one it would wait for itself.

        Raises:
            BudgetReached: not even an idle teacher could take these requests within the caps.
        """
        while self._capped and (unit := self._exceeded(worst)) is not None:
            if not any(self._held):
                raise self._reached(unit)
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        for cost in worst:
            self._add(self._held, cost, 1)

    def settle(self, worst: Cost, paid: Cost | None, *, sent: bool = True) -> None:
        """The request ended: `paid` is what it cost, None if nothing was bought."""
        self._add(self._held, worst, -1)
        if paid is not None:
            self._add(self.spent, paid, 1)
            self.unpriced += paid.nano_usd is None
        elif sent:
            self.spent[2] += 1
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def fits(self, worst: Cost) -> bool:
        """Whether this could be reserved now."""
        return self._exceeded([worst]) is None

    def _exceeded(self, worst: Sequence[Cost]) -> int | None:
        asked = [0, 0, 0]
        for cost in worst:
            self._add(asked, cost, 1)
        for unit, cap in enumerate(self.caps):
            if cap is not None and self.spent[unit] + self._held[unit] + asked[unit] > cap:
                return unit
        return None

    @staticmethod
    def _add(totals: list[int], cost: Cost, sign: int) -> None:
        totals[0] += sign * (cost.nano_usd or 0)
        totals[1] += sign * (cost.prompt + cost.completion)
        totals[2] += sign

    def _reached(self, unit: int) -> BudgetReached:
        spent, cap = self.spent[unit], self.caps[unit]
        assert cap is not None
        shown = f"${spent / 1e9:.4f} of ${cap / 1e9:.4f}" if unit == 0 else f"{spent:,} of {cap:,}"
        return BudgetReached(
            f"the next request might exceed it; {shown} spent, every answer is kept",
            where=f"budget.{UNITS[unit]}",
            fix="raise it and run the same command to go on",
        )
