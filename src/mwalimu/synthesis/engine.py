"""Records -> outcomes, in input order, with bounded memory, whatever the concurrency.

A request is planned, then sent (journaled), then answered (durable), then parsed. The engine is the
one owner of retries. What may be in flight is bounded twice: by the limiter, and by the groups that
are looked ahead; a slow row holds back the output, not the work on the rows behind it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from mwalimu.data.record import Record
from mwalimu.errors import TeacherUnreachable
from mwalimu.synthesis.limiter import Limiter, backoff_s
from mwalimu.synthesis.store import AnswerStore
from mwalimu.synthesis.verdict import Outcome, judge
from mwalimu.teachers.base import Request, RowError, Sampling, Teacher, TransientError

COMMIT_S = 0.002  # answers that arrive within this time share one fsync
BATCHES_A_WINDOW = 16  # a local teacher's rows are sorted by length within so many batches
HOPELESS = 10  # rows given up before the first answer


@dataclass(slots=True)
class Calls:
    """What was sent, for the ledger."""

    sent: int = 0
    reused: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    ambiguous: int = 0
    repeated: list[str] = field(default_factory=list)


class Engine:
    def __init__(
        self, teacher: Teacher, store: AnswerStore, sampling: Sampling, *, max_retries: int
    ) -> None:
        self.teacher = teacher
        self.store = store
        self.sampling = sampling
        self.max_retries = max_retries
        self.calls = Calls()
        self.limiter = Limiter(teacher.concurrency)
        self._committer = _Committer(store)
        self._answered = 0
        self._given_up = 0

    async def run(self, records: Iterable[Record]) -> AsyncIterator[Outcome]:
        """Yields one outcome a record, in order. Raises TeacherError when no row can succeed."""
        ahead = 1 if self.teacher.batch_size > 1 else max(256, 4 * self.teacher.concurrency)
        groups = _groups(records, self.teacher.batch_size)
        tasks: deque[asyncio.Task[list[Outcome]]] = deque()
        try:
            for group in islice(groups, ahead):
                tasks.append(asyncio.create_task(self._group(group)))
            while tasks:
                outcomes = await tasks.popleft()
                if group_after := next(groups, None):
                    tasks.append(asyncio.create_task(self._group(group_after)))
                for outcome in outcomes:
                    yield outcome
        finally:
            await _cancel(tasks)

    async def _group(self, records: list[Record]) -> list[Outcome]:
        """The outcomes of a group in its own order; its batches depend on the input alone."""
        size = self.teacher.batch_size
        order = sorted(range(len(records)), key=lambda i: (_length(records[i]), i))
        outcomes: dict[int, Outcome] = {}
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            answered = await self._batch([records[i] for i in batch])
            outcomes.update(zip(batch, answered, strict=True))
        return [outcomes[i] for i in range(len(records))]

    async def _batch(self, records: list[Record]) -> list[Outcome]:
        requests = [Request(self.teacher.info.model, r.messages, self.sampling) for r in records]
        stored = [self.store.get(request.key) for request in requests]
        if all(raw is not None for raw in stored):
            self.calls.reused += len(requests)
            found = [raw for raw in stored if raw is not None]
            return self._outcomes(records, requests, found, reused=True)
        have = {request.key for request, raw in zip(requests, stored, strict=True) if raw}
        try:
            raws = await self._ask(requests, have)
        except RowError as error:
            return [self._failed(record, str(error)) for record in records]
        except TransientError as error:
            return [self._give_up(record, error) for record in records]
        self._answered += len(records)
        return self._outcomes(records, requests, raws, reused=False)

    async def _ask(self, requests: Sequence[Request], have: set[str]) -> Sequence[bytes]:
        keys = [request.key for request in requests]
        self.calls.repeated += [key for key in keys if self.store.was_sent(key)]
        for attempt in range(self.max_retries + 1):
            try:
                return await self._send(requests, keys, have)
            except TransientError as error:
                self._learn(error)
                if attempt == self.max_retries:
                    raise
                await asyncio.sleep(backoff_s(attempt, keys[0]))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _send(
        self, requests: Sequence[Request], keys: list[str], have: set[str]
    ) -> Sequence[bytes]:
        """Holds its slot until the answers are durable: a crash repeats only what is in flight."""
        async with self.limiter.slot():
            self.store.mark_sent(keys)
            self.calls.sent += len(requests)
            raws = await self.teacher.send(requests)
            pairs = zip(keys, raws, strict=True)
            await self._committer.commit([(key, raw) for key, raw in pairs if key not in have])
        self.limiter.succeeded()
        return raws

    def _learn(self, error: TransientError) -> None:
        self.calls.retries[error.reason] += 1
        self.calls.ambiguous += error.ambiguous
        if error.reason == "HTTP 429":
            self.limiter.rate_limited()
        if error.retry_after_s is not None:
            self.limiter.pause(error.retry_after_s)

    def _give_up(self, record: Record, error: TransientError) -> Outcome:
        self._given_up += 1
        if self._given_up >= HOPELESS and not self._answered:
            raise TeacherUnreachable(
                f"no answer after {self._given_up} rows of {self.max_retries + 1} tries each "
                f"({error.reason})",
                where=self.teacher.info.model,
                fix="look at the server, then run the same command again",
            )
        return self._failed(record, f"{error.reason}, {self.max_retries + 1} tries")

    def _failed(self, record: Record, reason: str) -> Outcome:
        return Outcome(record, "failed", reason=reason)

    def _outcomes(
        self,
        records: Sequence[Record],
        requests: Sequence[Request],
        raws: Sequence[bytes],
        *,
        reused: bool,
    ) -> list[Outcome]:
        rows = zip(records, requests, raws, strict=True)
        return [self._outcome(record, request.key, raw, reused) for record, request, raw in rows]

    def _outcome(self, record: Record, key: str, raw: bytes, reused: bool) -> Outcome:
        try:
            completion = self.teacher.parse(raw)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            reason = f"the stored answer has no meaning ({type(error).__name__})"
            return Outcome(record, "failed", None, reason, key, reused)
        status, reason = judge(record.task, completion, self.sampling.max_tokens)
        return Outcome(record, status, completion, reason, key, reused)


class _Committer:
    """Group commit: an answer counts as answered when the fsync that it shares has returned."""

    def __init__(self, store: AnswerStore) -> None:
        self.store = store
        self._pending: list[tuple[str, bytes]] = []
        self._done: asyncio.Future[None] | None = None

    async def commit(self, answers: list[tuple[str, bytes]]) -> None:
        self._pending += answers
        if self._done is None:
            loop = asyncio.get_running_loop()
            self._done = loop.create_future()
            loop.call_later(COMMIT_S, self._flush)
        await asyncio.shield(self._done)

    def _flush(self) -> None:
        pending, done = self._pending, self._done
        self._pending, self._done = [], None
        assert done is not None
        try:
            self.store.put(pending)
        except Exception as error:
            done.set_exception(error)
        else:
            done.set_result(None)


def _groups(records: Iterable[Record], batch_size: int) -> Iterator[list[Record]]:
    size = 1 if batch_size == 1 else batch_size * BATCHES_A_WINDOW
    iterator = iter(records)
    while group := list(islice(iterator, size)):
        yield group


def _length(record: Record) -> int:
    return sum(len(message.content) for message in record.messages)


async def _cancel(tasks: Iterable[asyncio.Task[list[Outcome]]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task
