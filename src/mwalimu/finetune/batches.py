"""The order of the rows: a pure function of (seed, epoch), batches of like length."""

from __future__ import annotations

import random
from collections.abc import Sequence

BUCKET_BATCHES = 50
"""Rows are sorted by length inside this many batches: little padding, still a random order."""


def epoch_batches(
    lengths: Sequence[int],
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    rows: Sequence[int] | None = None,
) -> list[list[int]]:
    """Row indices, batch by batch: every row once, or those of `rows`."""
    rng = random.Random(f"{seed}:{epoch}")
    order = list(range(len(lengths)) if rows is None else rows)
    rng.shuffle(order)
    span = batch_size * BUCKET_BATCHES
    batches = []
    for start in range(0, len(order), span):
        bucket = sorted(order[start : start + span], key=lengths.__getitem__)
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    rng.shuffle(batches)
    return batches
