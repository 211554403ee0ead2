"""One teacher's batches: gathered within the limits and the budget, sent, watched, taken in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial

from mwalimu.errors import TeacherError
from mwalimu.synthesis.answer import Member
from mwalimu.synthesis.batches.intake import Intake, batch_prices
from mwalimu.synthesis.batches.records import BatchFolder, BatchRecord
from mwalimu.synthesis.batches.remote import NotTaken, Remote
from mwalimu.synthesis.batches.under_way import OpenBatch, account
from mwalimu.synthesis.budget import Prices
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.job import Job
from mwalimu.teachers.base import Request, RowError
from mwalimu.teachers.batch.base import BatchState, Gone, QueueFull, RequestFile
from mwalimu.teachers.batch.build import build_batches

Note = Callable[[str], None]
"""One line for whoever watches."""

KEPT_S = 3600.0  # a finished batch's id, lest it be taken for one whose id was lost
BREATH = 200  # requests gathered before others get their turn in the loop


class _Draft:
    """A file that is being filled."""

    def __init__(self, folder: BatchFolder, separator: bytes) -> None:
        self.file = RequestFile(folder.folder, separator)
        self.requests: dict[str, Cost] = {}

    def add(self, key: str, worst: Cost, line: bytes) -> None:
        self.file.add(line)
        self.requests[key] = worst


class BatchBuyer:
    def __init__(self, job: Job, member: Member, on_note: Note) -> None:
        self.job = job
        self.member = member
        self.on_note = on_note
        self.client = build_batches(member.asker.teacher)
        self.prices = batch_prices(member.config, cached_discount=self.client.cached_discount)
        self.folder = BatchFolder(job.store.folder)
        self.remote = Remote(self.client, member.config, self.folder, self._show)
        self.intake = Intake(member, self.client, self.prices)
        self._running: dict[asyncio.Task[None], OpenBatch] = {}
        self._covered: set[bytes] = set()  # sent in a batch, whatever became of it
        self._most = self.client.limits.requests
        self._queue_full = False
        self._again = False

    async def aclose(self) -> None:
        """What is at the provider goes on there."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.client.close()

    async def resume(self, *, cancel: bool) -> None:
        """Takes up what earlier lives left; with `cancel` as soon as the provider stops it."""
        foreign = 0
        for record in self.folder.load():
            if (record.identity, record.place) != (self.member.name, self.client.place):
                foreign += record.state != "done"
            elif record.state == "done":
                self._skip(record)
            elif record.state == "running" or await self._found(record):
                self._cover(record.requests)
                self._watch(OpenBatch(record, self.job, fresh=False), cancel=cancel)
        if foreign:
            self.on_note(f"{foreign} batches of another teacher wait until that is asked again")

    async def buy(self, requests: Iterable[Request]) -> None:
        """Sends and takes in until nothing is left that a batch could bring."""
        while True:
            self._again = False
            await self._send_all(requests)
            await self.wait_all()
            if not self._again:
                return

    async def wait_all(self) -> None:
        while self._running:
            await self._wait_one()

    async def _wait_one(self) -> None:
        done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            del self._running[task]
        for error in [task.exception() for task in done]:
            if error is not None:
                raise error

    # -- sending ----------------------------------------------------------------------------

    async def _send_all(self, requests: Iterable[Request]) -> None:
        draft = self._draft()
        try:
            for number, request in enumerate(requests):
                if number % BREATH == 0:
                    await asyncio.sleep(0)
                line = self._line(request, draft)
                if line is None:
                    continue
                worst = Prices(self.prices).worst_case(request)
                if self._is_full(draft, line) or (draft.requests and not self._fits(worst)):
                    await self._send(draft)
                    draft = self._draft()
                await self._reserve(worst)
                draft.add(request.key, worst, line)
            await self._send(draft)
        finally:
            draft.file.close()

    def _draft(self) -> _Draft:
        return _Draft(self.folder, self.client.separator)

    def _line(self, request: Request, draft: _Draft) -> bytes | None:
        """None for what no batch need bring; a request that cannot be sent is the online pass's."""
        key = request.key
        if bytes.fromhex(key) in self._covered or key in draft.requests:
            return None
        if self.job.store.get(key) is not None:
            return None
        try:
            line = self.client.line(key, request)
        except RowError:
            return None
        return line if len(line) <= self.client.limits.bytes else None

    def _is_full(self, draft: _Draft, line: bytes) -> bool:
        size = draft.file.size + len(self.client.separator) + len(line)
        return len(draft.requests) >= self._most or size > self.client.limits.bytes

    def _fits(self, worst: Cost) -> bool:
        return self.job.budget.fits(worst)

    async def _reserve(self, worst: Cost) -> None:
        """Waits while batches under way may turn out cheaper. Raises BudgetReached."""
        while not self._fits(worst) and self._running:
            await self._wait_one()
        await self.job.budget.reserve(worst)

    async def _send(self, draft: _Draft) -> None:
        """Journaled first: from here on a death at any point is made good by the next life."""
        with closing(draft.file):
            if not draft.requests:
                return
            while self._queue_full and self._running:
                await self._wait_one()
            self._queue_full = False
            store, calls = self.job.store, self.member.asker.calls
            record = self.folder.new(
                self.member.name, self.client.place, account(store), draft.requests
            )
            store.mark_sent(draft.requests.items())
            await self._sync()
            calls.sent += len(draft.requests)
            self._cover(draft.requests)
            batch = OpenBatch(record, self.job, fresh=True)
            try:
                if await self.remote.submit(record, draft.file):
                    self._watch(batch, cancel=False)
                else:
                    await self._lost(batch, "the connection broke while it went out")
            except QueueFull as error:
                self._put_back(batch, str(error))
            except NotTaken as refusal:
                self._drop(batch)
                raise refusal.error from None

    # -- watching ---------------------------------------------------------------------------

    def _watch(self, batch: OpenBatch, *, cancel: bool) -> None:
        self._running[asyncio.create_task(self._follow(batch, cancel))] = batch

    async def _follow(self, batch: OpenBatch, cancel: bool) -> None:
        try:
            state = await self.remote.until_ended(batch, cancel=cancel)
            if state.status == "failed" and (state.queue_full or not state.files):
                return self._refused(batch, state)
            await self.remote.persist(partial(self.intake.take, batch, state), batch.record.tag)
        except Gone as error:
            return await self._lost(batch, str(error))
        if state.status == "failed" and not batch.answers:
            return self._refused(batch, state)
        await self._finish(batch)

    def _refused(self, batch: OpenBatch, state: BatchState) -> None:
        if state.queue_full:
            return self._put_back(batch, state.detail)
        self._drop(batch)
        raise TeacherError(
            f"refused a whole batch: {state.detail or 'it gave no reason'}",
            where=self.client.place,
            fix="mend what it names, or set teacher.mode: online; nothing was bought",
        )

    def _put_back(self, batch: OpenBatch, detail: str) -> None:
        """The queue is full: later, when a batch of ours has ended; smaller, when there is none."""
        count = len(batch.record.requests)
        self._drop(batch)
        others = self._running.keys() - {asyncio.current_task()}
        alone = all(task.done() for task in others)
        if alone and count == 1:
            raise TeacherError(
                f"has no room in its queue for a batch: {detail}",
                where=self.client.place,
                fix="run the same command again when its batches have ended",
            )
        if alone:
            self._most = max(1, count // 2)
        self._queue_full = self._again = True

    def _drop(self, batch: OpenBatch) -> None:
        """The provider did not take it: as if it had never been sent."""
        keys = list(batch.left)
        batch.unbilled(keys)
        self._covered.difference_update(map(bytes.fromhex, batch.record.requests))
        self.job.store.flush()
        self.folder.remove(batch.record)

    async def _lost(self, batch: OpenBatch, why: str) -> None:
        keys = list(batch.left)
        self.member.asker.calls.ambiguous += len(keys)
        batch.unknown(keys)
        self.on_note(
            f"a batch of {len(batch.record.requests):,} requests may be lost ({why}); "
            "they count at their worst case and are asked one by one"
        )
        await self._finish(batch)

    async def _finish(self, batch: OpenBatch) -> None:
        """Only when its answers are durable may the record go."""
        self.job.store.flush()  # the online pass asks the index what was sent
        await self._sync()
        self._queue_full = False  # there is room again
        record = batch.record
        record.requests = {key: record.requests[key] for key in batch.failed}
        record.state = "done"
        self.folder.save(record)
        if batch.reasons:
            worst = ", ".join(f"{why} ({n:,})" for why, n in batch.reasons.most_common(3))
            self.on_note(
                f"a batch ended: {batch.answers:,} answers, {len(batch.failed):,} without one "
                f"are asked one by one: {worst}"
            )

    # -- what earlier lives left ------------------------------------------------------------

    async def _found(self, record: BatchRecord) -> bool:
        """Whether a batch that was going out when a life ended is at the provider."""
        found = await self.remote.look(record)
        if found.remote is not None:
            record.remote, record.state = found.remote, "running"
            self.folder.save(record)
            return True
        batch = OpenBatch(record, self.job, fresh=False)
        if found.sure:
            self._drop(batch)
        else:
            self._cover(record.requests)
            await self._lost(batch, "it went out when a run ended, and bears no name")
        return False

    def _skip(self, record: BatchRecord) -> None:
        """A batch has had its try with these; they are the online pass's."""
        left = {k: c for k, c in record.requests.items() if self.job.store.get(k) is None}
        self._cover(left)
        if not left and time.time() - record.submitted_at > KEPT_S:
            self.folder.remove(record)

    def _cover(self, requests: Iterable[str]) -> None:
        self._covered.update(map(bytes.fromhex, requests))

    async def _sync(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.job.store.sync)

    def _show(self) -> None:
        states = [batch.state for batch in self._running.values() if batch.state is not None]
        done, total = sum(s.done for s in states), sum(s.total for s in states)
        count = "1 batch" if len(self._running) == 1 else f"{len(self._running)} batches"
        self.on_note(f"{count} at the provider, {done:,} of {total:,} requests done")
