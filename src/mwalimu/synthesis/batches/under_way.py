"""A batch under way: which of its requests have no known end yet, and what that holds back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from mwalimu.synthesis.batches.records import BatchRecord
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.job import Job
from mwalimu.synthesis.store import AnswerStore, Stored
from mwalimu.teachers.batch.base import BatchState


def account(store: AnswerStore) -> str:
    """On whose account this life's requests go out, as in a record."""
    return store.run.hex()


class OpenBatch:
    """Ends its requests one by one, in the store and in the budget alike.

    The budget of this life holds the worst case of a batch of this life. Of an earlier life's it
    has already counted that as spent, provided that life was of the same run.
    """

    def __init__(self, record: BatchRecord, job: Job, *, fresh: bool) -> None:
        self.record = record
        self.state: BatchState | None = None
        self.failed: list[str] = []
        self.reasons: Counter[str] = Counter()
        self.answers = 0
        self._store = job.store
        self._budget = job.budget
        self._fresh = fresh
        self._same_run = record.run == account(job.store)
        if fresh:
            self.left = dict(record.requests)
            self._open = set(self.left)
        else:
            job.store.flush()  # the questions below are answered from the index
            known = record.requests.items()
            self.left = {key: cost for key, cost in known if job.store.get(key) is None}
            self._open = {key for key in self.left if job.store.was_sent(key)}

    def answered(self, answers: Sequence[Stored]) -> None:
        """Raises DiskFull; then they are all left."""
        self._store.put(answers)
        self.answers += len(answers)
        for key, cost, _ in answers:
            self._settle(key, cost)

    def unbilled(self, keys: Iterable[str]) -> None:
        """They ended without having been done."""
        keys = list(keys)
        self._store.mark_unbilled([key for key in keys if key in self._open])
        for key in keys:
            self._settle(key, None)
        self.failed += keys

    def unknown(self, keys: Iterable[str]) -> None:
        """They may have been done: they stay open in the store, and count at their worst."""
        for key in (keys := list(keys)):
            worst = self.left.pop(key)
            if self._fresh:
                self._budget.settle(worst, worst)
        self.failed += keys

    def _settle(self, key: str, paid: Cost | None) -> None:
        worst = self.left.pop(key)
        if self._fresh:
            self._budget.settle(worst, paid)
            return
        spent = self._budget.spent
        if self._same_run and key in self._open:
            spent[0] -= worst.nano_usd or 0
            spent[1] -= worst.prompt + worst.completion
        if paid is not None:
            spent[0] += paid.nano_usd or 0
            spent[1] += paid.prompt + paid.completion
            self._budget.unpriced += paid.nano_usd is None
