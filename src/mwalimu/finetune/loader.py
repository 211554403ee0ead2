"""What a step learns is got ready: rows to tensors, and the teacher's view of them where it can be
had before the step. Where that is waiting, for copies to a GPU or for a server, it is done while
the step before runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import torch

from mwalimu.config import FinetuneConfig
from mwalimu.data.collate import Batch, collate
from mwalimu.data.layout import split_rows
from mwalimu.data.longrope import rope_limit
from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.parallel.dealing import in_step
from mwalimu.finetune.parallel.world import World
from mwalimu.finetune.teacher.view import TeacherView
from mwalimu.finetune.teaching import Teaching

AHEAD = 1
"""Steps that are ready beside the one that runs."""

Given = TypeVar("Given")
Made = TypeVar("Made")


class Step(NamedTuple):
    """Of one optimiser step: a batch a forward pass; a view that is None is looked for then."""

    batches: list[Batch]
    views: list[TeacherView | None]

    def in_step(self, filler: Callable[[], Step], world: World) -> Step:
        """With as many batches of each kind in every process; `filler` makes what is missing."""
        pairs = list(zip(self.batches, self.views, strict=True))
        even = in_step(pairs, lambda: next(zip(*filler(), strict=True)), world)
        return Step(*map(list, zip(*even, strict=True)))

    @property
    def rows(self) -> list[Encoded]:
        return [row for batch in self.batches if batch.counts for row in batch.rows]


@dataclass(frozen=True, slots=True)
class Loader:
    """Makes steps and validation batches of what `teaching` takes.

    A pass has `most` tokens, or as many as its rows have; `limit` is the model's rope_limit.
    """

    teaching: Teaching
    pad_id: int
    device: torch.device
    most: int | None = None
    limit: int | None = None

    @classmethod
    def of(cls, teaching: Teaching, settings: FinetuneConfig, pad_id: int) -> Loader:
        model = teaching.forward.model
        return cls(teaching, pad_id, model.device, settings.tokens_per_pass, rope_limit(model))

    def step(self, groups: Sequence[tuple[Sequence[Encoded], bool]]) -> Step:
        """Of rows for one forward pass, and whether their answers are the student's own.

        Where tokens are bounded, passes are made anew of all rows.
        """
        if self.most is not None:
            groups = [
                ([row for rows, kind in groups for row in rows if kind == own], own)
                for own in (False, True)
            ]
        batches = [batch for rows, own in groups for batch in self.batches(rows, on_policy=own)]
        source = self.teaching.source
        return Step(batches, [source.ahead(batch) if source else None for batch in batches])

    def steps(
        self, make: Callable[[Given], Made], given: Iterable[Given]
    ) -> AbstractContextManager[Iterator[Made]]:
        """What `make` makes of each, ahead of its use where that saves time.

        On a CPU a thread would only take turns with the step that it is to run beside.
        """
        source = self.teaching.source
        if self.device.type == "cpu" and not (source and source.waits):
            return nullcontext(map(make, given))
        return ahead(make, given)

    def batches(self, rows: Sequence[Encoded], *, on_policy: bool = False) -> Iterator[Batch]:
        """Rows of like length together, as many as one forward pass may have tokens."""
        slack = self.teaching.forward.slack
        lengths = [len(row) for row in rows]
        for line in split_rows(lengths, slack, self.most, self.limit):
            yield collate(
                [rows[index] for index in line],
                pad_id=self.pad_id,
                device=self.device,
                slack=slack,
                on_policy=on_policy,
            )


@contextmanager
def ahead(make: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Iterator[Made]]:
    """Iterates over what `make` makes of each, in order, while a thread makes the next.

    An exception of `make` is raised where its result would have come.
    """
    pool = ThreadPoolExecutor(1, "loader", _on_this_gpu())
    try:
        yield _results(pool, make, given)
    finally:
        # What is being made is not waited for: after an error it may take long.
        pool.shutdown(wait=False, cancel_futures=True)


def _on_this_gpu() -> Callable[[], None]:
    """For a new thread, which would begin on the first GPU."""
    if not torch.cuda.is_available():
        return lambda: None
    return partial(torch.cuda.set_device, torch.cuda.current_device())


def _results(
    pool: ThreadPoolExecutor, make: Callable[[Given], Made], given: Iterable[Given]
) -> Iterator[Made]:
    waiting: deque[Future[Made]] = deque()
    for item in given:
        waiting.append(pool.submit(make, item))
        if len(waiting) > AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
