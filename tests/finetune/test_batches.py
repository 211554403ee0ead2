"""The order of the rows."""

import random

import pytest

from mwalimu.finetune.batches import epoch_batches


@pytest.mark.parametrize("count, size", [(1, 8), (7, 8), (8, 8), (1000, 8), (333, 2)])
def test_each_row_comes_once_in_whole_batches(count: int, size: int) -> None:
    lengths = [random.Random(i).randrange(1, 90) for i in range(count)]
    batches = epoch_batches(lengths, size, seed=1, epoch=2)
    assert sorted(index for batch in batches for index in batch) == list(range(count))
    assert len(batches) == -(-count // size)
    assert sorted(map(len, batches))[1:] == [size] * (len(batches) - 1)


def test_the_order_is_a_function_of_seed_and_epoch_alone() -> None:
    lengths = [random.Random(i).randrange(1, 90) for i in range(500)]
    first = epoch_batches(lengths, 8, seed=1, epoch=2)
    random.seed(99)
    random.random()
    assert epoch_batches(lengths, 8, seed=1, epoch=2) == first
    assert epoch_batches(lengths, 8, seed=1, epoch=3) != first
    assert epoch_batches(lengths, 8, seed=2, epoch=2) != first


def test_rows_of_a_batch_are_of_like_length() -> None:
    lengths = [random.Random(i).randrange(1, 500) for i in range(4000)]
    batches = epoch_batches(lengths, 8, seed=0, epoch=0)
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
    assert padded < 1.05 * sum(lengths)
