"""Who takes which rows of a step."""

import math
import random

import pytest
import torch

from mwalimu.data.collate import Batch, collate
from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.parallel.dealing import deal, in_step
from mwalimu.finetune.parallel.world import ALONE, World

CPU = torch.device("cpu")


def rows_of(lengths: list[int]) -> list[Encoded]:
    return [Encoded.of([1] * n, [False] + [True] * (n - 1), str(i)) for i, n in enumerate(lengths)]


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize(("batches", "batch_size"), [(1, 8), (4, 4), (5, 3), (1, 2)])
def test_each_row_goes_to_one_process_in_passes_no_larger_than_before(
    size: int, batches: int, batch_size: int
) -> None:
    rng = random.Random(size * batches)
    rows = rows_of([rng.randrange(2, 60) for _ in range(batches * batch_size - 1)])
    whole = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    dealt = [deal(whole, World(rank, size)) for rank in range(size)]
    taken = sorted(int(row.row_id) for own in dealt for batch in own for row in batch)
    assert taken == list(range(len(rows)))
    assert all(0 < len(batch) <= batch_size for own in dealt for batch in own)
    passes = [len(own) for own in dealt if own]
    assert max(passes) == math.ceil(len(rows) / size / batch_size)
    counts = [sum(map(len, own)) for own in dealt]
    assert max(counts) - min(counts) <= 1
    tokens = [sum(len(row.ids) for batch in own for row in batch) for own in dealt]
    assert max(tokens) - min(tokens) <= max(len(row.ids) for row in rows)


def test_passes_hold_rows_of_like_lengths() -> None:
    lengths = [10, 90, 12, 88, 11, 91, 13, 89]
    whole = [rows_of(lengths)[i : i + 2] for i in range(0, 8, 2)]
    for rank in (0, 1):
        passes = deal(whole, World(rank, 2))
        assert [len(batch) for batch in passes] == [2, 2]
        for batch in passes:
            assert max(len(row.ids) for row in batch) - min(len(row.ids) for row in batch) < 4


def test_one_process_takes_the_batches_as_they_are() -> None:
    whole = [rows_of([5, 9]), rows_of([7])]
    assert deal(whole, ALONE) == whole


def batch_of(lengths: list[int], *, own: bool = False) -> Batch:
    return collate(rows_of(lengths), pad_id=0, device=CPU, on_policy=own)


class Told(World):
    """A process whose fellows told what they have."""

    others: tuple[list[int], ...] = ()

    def gather(self, value: object) -> list[object]:
        return [value, *type(self).others]


def test_what_is_missing_is_filled_up_kind_by_kind_and_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Told, "others", ([2, 1], [1, 2]))
    own = [(batch_of([4], own=True), "a"), (batch_of([5]), "b")]
    even = in_step(own, lambda: (batch_of([2]), "filler"), Told(0, 3))
    assert [view for _, view in even] == ["b", "filler", "a", "filler"]
    assert [batch.on_policy for batch, _ in even] == [False, False, True, True]
    assert [batch.counts for batch, _ in even] == [True, False, True, False]
    assert in_step(own, lambda: pytest.fail("nothing to fill"), ALONE) == own
