"""A batch's results -> the answer store, as they stream in."""

from __future__ import annotations

from contextlib import aclosing

from mwalimu.config import TeacherConfig
from mwalimu.synthesis.answer import Member
from mwalimu.synthesis.ask import NO_MEANING, Calls
from mwalimu.synthesis.batches.under_way import OpenBatch
from mwalimu.synthesis.budget import Prices
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.store import Stored
from mwalimu.teachers.batch.base import BatchClient, BatchState, Gone, Result

GROUP, GROUP_BYTES = 500, 8 << 20  # written at once
NOT_NAMED = "not among the results"


def batch_prices(config: TeacherConfig, *, cached_discount: bool) -> TeacherConfig:
    """The teacher at the prices of a batch; where the factor is unknown, the full price counts."""
    factor = 1.0 if config.batch_factor is None else config.batch_factor

    def scaled(price: float | None) -> float | None:
        return None if price is None else price * factor

    cached = config.usd_per_million_cached if cached_discount else config.usd_per_million_input
    return config.model_copy(
        update={
            "usd_per_million_input": scaled(config.usd_per_million_input),
            "usd_per_million_output": scaled(config.usd_per_million_output),
            "usd_per_million_cached": scaled(cached),
        }
    )


class _Group:
    """Results that have not been written yet."""

    def __init__(self) -> None:
        self.answers: dict[str, Stored] = {}
        self.unbilled: list[str] = []
        self.unknown: list[str] = []
        self.keys: set[str] = set()
        self.bytes = 0

    @property
    def full(self) -> bool:
        return len(self.keys) >= GROUP or self.bytes >= GROUP_BYTES

    def write(self, batch: OpenBatch, calls: Calls) -> None:
        batch.answered(list(self.answers.values()))
        calls.answered += len(self.answers)
        batch.unbilled(self.unbilled)
        batch.unknown(self.unknown)
        calls.ambiguous += len(self.unknown)


class Intake:
    def __init__(self, member: Member, client: BatchClient, prices: TeacherConfig) -> None:
        self.calls = member.asker.calls
        self.teacher = member.asker.teacher
        self.client = client
        self.prices = prices

    async def take(self, batch: OpenBatch, state: BatchState) -> None:
        """Ends every request of the batch. May be repeated where it broke off.

        Raises TransientError, TeacherError, DiskFull; Gone also for results that are another's.
        """
        group = _Group()
        ours = others = answers = 0
        async with aclosing(self.client.results(state)) as results:
            async for result in results:
                known = result.key in batch.record.requests
                ours += known
                others += bool(result.key) and not known
                answers += known and result.raw is not None
                if result.key in batch.left and result.key not in group.keys:
                    self._sort(result, batch, group)
                if group.full:
                    group.write(batch, self.calls)
                    group = _Group()
        group.write(batch, self.calls)
        if others and not ours:
            raise Gone("the only batch that could have been it is another's")
        self._rest(batch, complete=answers == state.succeeded or state.status == "failed")

    def _sort(self, result: Result, batch: OpenBatch, group: _Group) -> None:
        group.keys.add(result.key)
        if result.raw is not None:
            worst = batch.left[result.key]
            group.answers[result.key] = Stored(
                result.key, self._paid(result.raw, worst), result.raw
            )
            group.bytes += len(result.raw)
            return
        batch.reasons[result.reason] += 1
        if result.billed:
            group.unknown.append(result.key)
        else:
            group.unbilled.append(result.key)

    def _paid(self, raw: bytes, worst: Cost) -> Cost:
        try:
            return Prices(self.prices).actual(self.teacher.parse(raw).usage)
        except NO_MEANING:
            return worst

    def _rest(self, batch: OpenBatch, *, complete: bool) -> None:
        """What no line is about: not done where every answer that is counted was found."""
        keys = list(batch.left)
        if not keys:
            return
        batch.reasons[NOT_NAMED] += len(keys)
        if complete:
            batch.unbilled(keys)
        else:
            self.calls.ambiguous += len(keys)
            batch.unknown(keys)
