"""The life of a request: planned -> sent -> answered -> durable -> parsed; the owner of retries.

Before it goes out its worst case is reserved and its going out is journaled; its answer is written
as the bytes that came, before anybody tries to understand them, and used when it is durable.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mwalimu.config import TeacherConfig
from mwalimu.errors import TeacherError, TeacherUnreachable
from mwalimu.synthesis.budget import Budget, Prices
from mwalimu.synthesis.durability import Durability
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.limiter import Limiter, backoff_s
from mwalimu.synthesis.store import Stored
from mwalimu.teachers.base import Completion, Reply, Request, RowError, Teacher, TransientError

NO_MEANING = (ValueError, KeyError, TypeError, IndexError, AttributeError)
HOPELESS = 10  # requests given up before the first answer, or
HOPELESS_LATER = 50  # in a row after one
NAMED = 100  # repeated requests whose keys the ledger names


@dataclass(slots=True)
class Calls:
    """What was sent in this life and what was found in the store, for the ledger."""

    sent: int = 0
    answered: int = 0
    reused: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    ambiguous: int = 0
    repeated: int = 0
    repeated_keys: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    with_logprobs: int = 0
    nano_usd: int = 0
    unpriced: int = 0


class Answer(NamedTuple):
    """`completion` is None when there is none; then `reason` says why."""

    key: str
    completion: Completion | None
    reason: str = ""
    reused: bool = False


class Asker:
    """One teacher's requests, through one limiter."""

    def __init__(
        self, teacher: Teacher, config: TeacherConfig, durability: Durability, budget: Budget
    ) -> None:
        self.teacher = teacher
        self.config = config
        self.durability = durability
        self.store = durability.store
        self.budget = budget
        self.prices = Prices(config)
        self.calls = Calls()
        self.limiter = Limiter(teacher.concurrency)
        self._given_up = 0
        self._fatal: TeacherError | None = None
        self._success_at: float | None = None
        self._under_way: dict[str, asyncio.Future[None] | None] = {}

    async def ask(self, request: Request) -> Answer:
        """The answer of a served teacher; two askers of the same thing buy it once."""
        key = request.key
        while key in self._under_way:
            await self._end_of(key)
        if (found := self.store.find(key)) is not None:
            return self._stored(request, found)
        self._under_way[key] = None
        try:
            return (await self._ask_all([request], frozenset()))[0]
        finally:
            if (waited_for := self._under_way.pop(key)) is not None:
                waited_for.set_result(None)

    async def _end_of(self, key: str) -> None:
        if (end := self._under_way[key]) is None:
            end = self._under_way[key] = asyncio.get_running_loop().create_future()
        await asyncio.wait([end])

    async def ask_batch(self, requests: Sequence[Request]) -> list[Answer]:
        """A local teacher's whole batch: asked again whole where one answer is missing.

        The padding beside a row decides its last bits, so a batch is never asked in part.
        """
        stored = [self.store.find(request.key) for request in requests]
        if all(found is not None for found in stored):
            pairs = zip(requests, stored, strict=True)
            return [self._stored(request, found) for request, found in pairs if found is not None]
        have = {found.key for found in stored if found is not None}
        return await self._ask_all(requests, frozenset(have))

    def _stored(self, request: Request, found: Stored) -> Answer:
        self.calls.reused += 1
        try:
            completion = self.teacher.parse(found.raw)
        except NO_MEANING as error:
            return _no_meaning(request, error, reused=True)
        self._count(completion, found.cost.nano_usd)
        return Answer(request.key, completion, reused=True)

    async def _ask_all(self, requests: Sequence[Request], have: frozenset[str]) -> list[Answer]:
        for request in requests:
            if self.store.was_sent(request.key):
                self.calls.repeated += 1
                if self.calls.repeated <= NAMED:
                    self.calls.repeated_keys.append(request.key)
        try:
            return await self._persist(requests, have)
        except RowError as error:
            self._given_up = 0  # a teacher that says no is there
            return [Answer(request.key, None, str(error)) for request in requests]
        except _GaveUp as error:
            self._given_up += 1
            self._stop_if_hopeless(error.reason)
            return [Answer(request.key, None, str(error)) for request in requests]

    async def _persist(self, requests: Sequence[Request], have: frozenset[str]) -> list[Answer]:
        """Tries again what may succeed: so many times, or so long while the teacher is away."""
        began = _now()
        attempt = 0
        while True:
            try:
                return await self._send(requests, have)
            except TransientError as error:
                self.calls.retries[error.reason] += 1
                self.calls.ambiguous += error.ambiguous
                attempt += 1
                if error.rate_limited or error.overloaded or error.unreachable:
                    self._stop_if_away(error.reason, began)
                    if _now() - began > self.config.outage_s:
                        raise _GaveUp(error.reason, attempt) from None
                elif attempt > self.config.max_retries:
                    raise _GaveUp(error.reason, attempt) from None
                # After a Retry-After all wait together, in the limiter.
                if not error.rate_limited or error.retry_after_s is None:
                    await asyncio.sleep(backoff_s(attempt - 1, requests[0].key))

    async def _send(self, requests: Sequence[Request], have: frozenset[str]) -> list[Answer]:
        self._stop_if_told_to_wait()
        worst = [self.prices.worst_case(request) for request in requests]
        await self.budget.reserve(*worst)
        try:
            sent_at = await self._turn(requests, worst)
        except BaseException:
            for cost in worst:
                self.budget.settle(cost, None, sent=False)
            raise
        try:
            replies = await self._call(requests, worst, sent_at)
            answers = self._keep(requests, replies, worst, have)
        finally:
            # A killed process keeps what is written, so the next request may go before the fsync.
            self.limiter.release()
        return answers

    async def _turn(self, requests: Sequence[Request], worst: list[Cost]) -> float:
        """Waits until these may go, and journals it; the time of it."""
        sent_at = await self.limiter.acquire()
        try:
            if self._fatal is not None:
                raise self._fatal  # another row met it: not one more is sent
            self.store.mark_sent(zip([one.key for one in requests], worst, strict=True))
        except BaseException:
            self.limiter.release()
            raise
        return sent_at

    async def _call(
        self, requests: Sequence[Request], worst: list[Cost], sent_at: float
    ) -> Sequence[Reply]:
        keys = [request.key for request in requests]
        self.calls.sent += len(requests)
        try:
            return await self.teacher.send(requests)
        except TransientError as error:
            self._end_unanswered(keys, worst, billed=error.ambiguous)
            if error.rate_limited:
                self.limiter.rate_limited(error, sent_at)
            elif error.overloaded:
                self.limiter.overloaded()
                if error.retry_after_s is not None:
                    self.limiter.pause(error.retry_after_s)
            raise
        except asyncio.CancelledError:
            self._end_unanswered(keys, worst, billed=True)
            raise
        except TeacherError as error:
            self._fatal = error
            self._end_unanswered(keys, worst, billed=False)
            raise
        except Exception as error:
            self._end_unanswered(keys, worst, billed=isinstance(error, RowError) and error.billed)
            raise

    def _end_unanswered(self, keys: list[str], worst: list[Cost], *, billed: bool) -> None:
        """What may have been billed stays open in the journal and counts at its worst."""
        for cost in worst:
            self.budget.settle(cost, cost if billed else None)
        if not billed:
            self.store.mark_unbilled(keys)

    def _keep(
        self,
        requests: Sequence[Request],
        replies: Sequence[Reply],
        worst: list[Cost],
        have: frozenset[str],
    ) -> list[Answer]:
        answers, kept = [], []
        for request, reply, cost in zip(requests, replies, worst, strict=True):
            try:
                completion = self.teacher.parse(reply.raw)
                paid = self.prices.actual(completion.usage)
                answers.append(Answer(request.key, completion))
                self._count(completion, paid.nano_usd)
            except NO_MEANING as error:
                paid = cost
                answers.append(_no_meaning(request, error, reused=False))
            self.budget.settle(cost, paid)
            if request.key not in have:
                kept.append(Stored(request.key, paid, reply.raw))
            self.limiter.succeeded(paid.prompt + paid.completion, reply.limits)
        self.store.put(kept)
        self.durability.written()
        self.calls.answered += len(kept)
        self._given_up, self._success_at = 0, _now()
        return answers

    def _count(self, completion: Completion, paid: int | None) -> None:
        self.calls.prompt_tokens += completion.usage.prompt_tokens
        self.calls.completion_tokens += completion.usage.completion_tokens
        self.calls.with_logprobs += completion.logprobs is not None
        # What was bought when its price was unknown is priced as it would be now.
        nano = self.prices.nano_usd(completion.usage) if paid is None else paid
        self.calls.nano_usd += nano or 0
        self.calls.unpriced += nano is None

    def usd(self) -> float | None:
        """The price of the answers used, whenever they were paid; None where it is unknown."""
        return None if self.calls.unpriced else self.calls.nano_usd / 1e9

    def _stop_if_away(self, reason: str, began: float) -> None:
        """The circuit breaker: nobody has had an answer for `outage_s`."""
        last = began if self._success_at is None else max(began, self._success_at)
        if _now() - last >= self.config.outage_s:
            raise TeacherUnreachable(
                f"no answer for {self.config.outage_s:.0f} s ({reason})",
                where=self.teacher.info.model,
                fix="look at the server, then run the same command again; nothing is lost",
            )

    def _stop_if_told_to_wait(self) -> None:
        """A wish that goes beyond `outage_s` is not slept through: somebody has to know of it."""
        if (wait := self.limiter.paused_s()) > self.config.outage_s:
            raise TeacherUnreachable(
                f"asks to be left alone for {wait:,.0f} s, teacher.outage_s is "
                f"{self.config.outage_s:,.0f}",
                where=self.teacher.info.model,
                fix="run the same command again then, or raise it; nothing is lost",
            )

    def _stop_if_hopeless(self, reason: str) -> None:
        limit = HOPELESS if self._success_at is None else HOPELESS_LATER
        if self._given_up >= limit:
            raise TeacherUnreachable(
                f"no answer to {self._given_up} requests in a row, {self.config.max_retries + 1} "
                f"tries each ({reason})",
                where=self.teacher.info.model,
                fix="look at the server, then run the same command again; nothing is lost",
            )


class _GaveUp(Exception):
    def __init__(self, reason: str, tries: int) -> None:
        super().__init__(f"{reason}, {tries} tries")
        self.reason = reason


def _no_meaning(request: Request, error: Exception, *, reused: bool) -> Answer:
    reason = f"the stored answer has no meaning ({type(error).__name__})"
    return Answer(request.key, None, reason, reused)


def _now() -> float:
    return asyncio.get_running_loop().time()
