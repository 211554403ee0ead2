"""Rows to tensors: where the targets are, and that padding is never one of them."""

import random

import pytest
import torch

from mwalimu.data.collate import collate
from mwalimu.data.layout import PADDED
from mwalimu.data.tokenize import Encoded, encode_example, end_of_turn_id
from tests.finetune.jobs import sums
from tests.finetune.models import make_rows
from tests.tiny import make_tokenizer

CPU = torch.device("cpu")


def test_labels_stand_one_after_their_positions() -> None:
    rows = [
        Encoded.of([5, 6, 7, 8], [False, False, True, True]),
        Encoded.of([9, 4], [False, True]),
    ]
    batch = collate(rows, pad_id=0, device=CPU)
    assert batch.ids_BT.tolist() == [[5, 6, 7, 8], [9, 4, 0, 0]]
    assert batch.positions_N.tolist() == [1, 2, 4]
    assert batch.labels_N.tolist() == [7, 8, 4]
    assert batch.sizes_B.tolist() == [2, 1] and batch.rows == rows
    assert not batch.on_policy and collate(rows, pad_id=0, device=CPU, on_policy=True).on_policy


def test_a_first_token_is_no_target_since_nothing_predicts_it() -> None:
    batch = collate([Encoded.of([5, 6], [True, True])] * 2, pad_id=0, device=CPU)
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


@pytest.mark.parametrize("slack", [0, 5, PADDED])
def test_packed_rows_are_whole_in_one_line_and_their_targets_are_found(slack: int) -> None:
    rows = make_rows(9)
    random.Random(1).shuffle(rows)
    batch = collate(rows, pad_id=7, device=CPU, slack=slack)
    flat_P, starts = batch.ids_BT.flatten(), batch.layout.starts.tolist()
    assert batch.ids_BT.shape == batch.layout.shape
    assert torch.equal(flat_P[batch.positions_N + 1], batch.labels_N)
    assert torch.equal(batch.places_N, batch.positions_N)
    positions = batch.positions_N.split(batch.sizes_B.tolist())
    for row, own, start, end in zip(rows, positions, starts, starts[1:], strict=False):
        line = flat_P[start:end].tolist()
        assert line == row.ids + [7] * (end - start - len(row.ids))
        expected = range(len(row.ids) - row.targets - 1, len(row.ids) - 1)
        assert (own - start).tolist() == list(expected)
    assert len(flat_P) == starts[-1]


def test_targets_come_row_by_row_whatever_the_order() -> None:
    rows = make_rows(9)
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        batch = collate(rows, pad_id=0, device=CPU)
        assert batch.sizes_B.tolist() == [row.targets for row in rows]
        width = batch.ids_BT.shape[1]
        for row, labels, positions in zip(
            rows,
            batch.labels_N.split(batch.sizes_B.tolist()),
            batch.positions_N.split(batch.sizes_B.tolist()),
            strict=True,
        ):
            answer = row.ids[len(row.ids) - row.targets :]
            assert labels.tolist() == answer
            expected = range(len(row.ids) - row.targets - 1, len(row.ids) - 1)
            assert (positions % width).tolist() == list(expected)
            assert len(set((positions // width).tolist())) == 1
