"""Order and padding."""

import random

import pytest
import torch

from mwalimu.data.collate import collate
from mwalimu.data.tokenize import Encoded, encode_example, end_of_turn_id
from mwalimu.finetune.batches import epoch_batches
from tests.finetune.jobs import sums
from tests.tiny import make_tokenizer

CPU = torch.device("cpu")


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


def test_labels_stand_one_after_their_positions() -> None:
    rows = [
        Encoded([5, 6, 7, 8], [False, False, True, True]),
        Encoded([9, 4], [False, True]),
    ]
    batch = collate(rows, pad_id=0, device=CPU)
    assert batch.ids_BT.tolist() == [[5, 6, 7, 8], [9, 4, 0, 0]]
    assert batch.positions_N.tolist() == [1, 2, 4]
    assert batch.labels_N.tolist() == [7, 8, 4]
    assert batch.sizes_B.tolist() == [2, 1] and batch.rows == rows


def test_a_first_token_is_no_target_since_nothing_predicts_it() -> None:
    batch = collate([Encoded([5, 6], [True, True])] * 2, pad_id=0, device=CPU)
    assert batch.positions_N.tolist() == [0, 2]
    assert batch.labels_N.tolist() == [6, 6]


@pytest.mark.parametrize("pad", ["<pad>", "<|end|>"])
def test_every_row_learns_its_end_of_turn_even_if_padding_equals_it(pad: str) -> None:
    tokenizer = make_tokenizer()
    tokenizer.pad_token = pad
    rows = [encode_example(tokenizer, row["messages"], max_length=64) for row in sums(50)]
    batch = collate(rows, pad_id=tokenizer.pad_token_id, device=CPU)
    end = end_of_turn_id(tokenizer)
    assert int((batch.labels_N == end).sum()) == len(rows)
    assert batch.labels_N.numel() == sum(row.targets for row in rows)
