"""Batches fill the answer store; the online pass reads it and asks only for what is missing.

So a job may change its mode half-way: what a batch brought is never asked again, what it left out
is asked one by one, and what is still at the provider is waited for, or cancelled and collected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing

from mwalimu.config import TeacherConfig
from mwalimu.errors import ConfigError
from mwalimu.synthesis.answer import Member, first_request
from mwalimu.synthesis.batches.buyer import BatchBuyer, Note
from mwalimu.synthesis.batches.records import BatchFolder
from mwalimu.synthesis.engine import Item
from mwalimu.synthesis.job import Job
from mwalimu.synthesis.masking import outgoing
from mwalimu.synthesis.verdict import Outcome
from mwalimu.teachers.base import Request
from mwalimu.teachers.batch.build import build_batches, has_batches

Items = Callable[[], Iterable[Item | Outcome]]
"""Goes through everything that will be asked, as often as it is called."""


async def run_batches(job: Job, items: Items, on_note: Note) -> None:
    """What has to be done about batches before the online pass, in either mode.

    Raises:
        ConfigError: mode batch with a job or a teacher that it does not suit.
        TeacherError: the provider refused a whole batch, or is away.
        BudgetReached: not even one more request fits; what was bought is in the store.
    """
    check_batches(job)
    if job.config.teacher.mode == "batch":
        requests = _Requests(job, items)
        await prefetch(job, job.members[0], requests, on_note)
    else:
        await collect(job, on_note)


async def prefetch(job: Job, member: Member, requests: Iterable[Request], on_note: Note) -> None:
    """Buys in batches what the store lacks; returns when every batch has ended.

    `requests` is gone through again where the provider took only a part, so it is no iterator.
    Killed at any point, the next call finds what is at the provider and buys nothing twice.
    """
    async with aclosing(BatchBuyer(job, member, on_note)) as buyer:
        await buyer.resume(cancel=False)
        await buyer.buy(requests)


async def collect(job: Job, on_note: Note) -> None:
    """Ends the batches that earlier lives left at the provider, and keeps what they answered.

    They are cancelled: what they have not done by then is asked online, so it must not be bought
    there as well.
    """
    if not BatchFolder(job.store.folder).load():
        return
    helpers = [one for one in (job.judge, job.user) if one is not None]
    seen = set()
    for member in (*job.members, *helpers):
        if member.asker in seen or not has_batches(member.asker.teacher):
            continue
        seen.add(member.asker)
        async with aclosing(BatchBuyer(job, member, on_note)) as buyer:
            await buyer.resume(cancel=True)
            await buyer.wait_all()


def first_requests(job: Job, items: Iterable[Item | Outcome]) -> Iterator[tuple[Member, Request]]:
    """What a plain job asks first for each item; rows that already have an outcome ask nothing."""
    member = job.members[0]
    for item in items:
        if isinstance(item, Item):
            request = first_request(item.record, item.sample, member, job.prompting)
            yield member, outgoing(job.config, member.config, request)


def check_batches(job: Job) -> None:
    """Raises ConfigError where mode batch does not suit the job."""
    config = job.config
    others: list[TeacherConfig] = []
    if config.ensemble is not None:
        judge = config.ensemble.judge
        others = [*config.ensemble.others, *([judge] if judge else [])]
    if config.generate.user_model is not None:
        others.append(config.generate.user_model)
    plain = config.ensemble is None and config.generate.conversation == "last"
    wanted = [one for one in (config.teacher, *others) if one.mode == "batch"]
    if wanted and (not plain or config.teacher.mode != "batch"):
        raise ConfigError(
            "batch needs one teacher and one turn: drop ensemble and generate.conversation",
            where="teacher.mode",
            fix="or set it to online",
        )
    if wanted:
        build_batches(job.members[0].asker.teacher)


class _Requests:
    """The first requests of a job's items, as often as they are gone through."""

    def __init__(self, job: Job, items: Items) -> None:
        self._job = job
        self._items = items

    def __iter__(self) -> Iterator[Request]:
        return (request for _, request in first_requests(self._job, self._items()))
