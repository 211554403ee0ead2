"""What each process does of an optimiser step, whose rows are those of one process alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from mwalimu.data.collate import Batch
from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.parallel.world import World

Micro = list[Encoded]
View = TypeVar("View")


def deal(batches: Sequence[Micro], world: World) -> list[Micro]:
    """This process's share of the rows, in passes of no more rows than the largest of `batches`.

    Dealt one by one, the longest first, so that all processes have nearly as much to do, and in
    each pass rows of nearly the same lengths.
    """
    if world.size == 1:
        return list(batches)
    rows = sorted((row for batch in batches for row in batch), key=lambda row: -len(row))
    passes = math.ceil(len(rows) / world.size / max(map(len, batches)))
    own = rows[world.rank :: world.size]
    parts = [own[len(own) * i // passes : len(own) * (i + 1) // passes] for i in range(passes)]
    return [part for part in parts if part]


def in_step(
    batches: Sequence[tuple[Batch, View]], filler: Callable[[], tuple[Batch, View]], world: World
) -> list[tuple[Batch, View]]:
    """`batches`, those with the student's own answers last, and as many in every process.

    Sharded models exchange their weights in each pass, so all processes make equally many, kind by
    kind. Where one has fewer, it takes what `filler` makes, and does not count it.
    """
    if world.size == 1:
        return list(batches)
    kinds = [[pair for pair in batches if pair[0].on_policy is own] for own in (False, True)]
    counts = world.gather([len(kind) for kind in kinds])
    even: list[tuple[Batch, View]] = []
    for own, kind, in_each in zip((False, True), kinds, zip(*counts, strict=True), strict=True):
        even += kind
        for _ in range(max(in_each) - len(kind)):
            batch, view = filler()
            even.append((replace(batch, on_policy=own, counts=False), view))
    return even
