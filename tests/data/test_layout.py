"""Rows in blocks and lines: all are there, padding and places are bounded, and places are told."""

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from mwalimu.data.layout import PADDED, Layout, Line, split_rows

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)
SLACKS = st.sampled_from([0, 3, 16, PADDED])


def line_of(lengths: list[int], slack: int) -> Line:
    line = Line(slack)
    assert all(line.take(length) for length in lengths)
    return line


@given(LENGTHS, SLACKS)
def test_blocks_hold_the_rows_in_order_with_bounded_padding(lengths: list[int], slack: int) -> None:
    line, start = line_of(lengths, slack), 0
    for block in line.blocks:
        own = lengths[start : start + block.rows]
        assert block.width == max(own) and block.tokens == sum(own)
        assert block.padding == block.rows * block.width - sum(own) <= slack
        start += block.rows
    assert start == len(lengths)
    assert line.places == sum(block.rows * block.width for block in line.blocks)


def test_padded_rows_are_one_block_and_without_slack_only_equal_ones_share_one() -> None:
    lengths = [5, 5, 3, 7, 7, 7]
    assert line_of(lengths, PADDED).blocks == [(6, 7, 34)]
    assert line_of(lengths, 0).blocks == [(2, 5, 10), (1, 3, 3), (3, 7, 21)]
    assert line_of(lengths, 2).blocks == [(3, 5, 13), (3, 7, 21)]


@given(LENGTHS, SLACKS)
def test_a_layout_tells_how_far_each_place_is_from_its_rows_begin(
    lengths: list[int], slack: int
) -> None:
    blocks = line_of(lengths, slack).blocks
    layout = Layout.of(blocks, CPU)
    widths = [block.width for block in blocks for _ in range(block.rows)]
    starts = layout.starts.tolist()
    assert [end - start for start, end in itertools.pairwise(starts)] == widths
    rows, tokens = layout.shape
    places = layout.places_BT.expand(rows, tokens).flatten().tolist()
    assert places == [place for width in widths for place in range(width)]
    assert layout.longest == max(lengths) and layout.starts.dtype == torch.int32


@given(LENGTHS, SLACKS, st.integers(1, 100), st.none() | st.integers(1, 40))
def test_lines_have_each_row_once_and_at_most_so_many_places(
    lengths: list[int], slack: int, most: int, limit: int | None
) -> None:
    lines = split_rows(lengths, slack, most, limit)
    flat = [index for line in lines for index in line]
    assert sorted(flat) == list(range(len(lengths)))
    assert [lengths[index] for index in flat] == sorted(lengths)
    for line in lines:
        own = [lengths[index] for index in line]
        assert len(own) == 1 or line_of(own, slack).places <= most
        assert limit is None or len({length > limit for length in own}) == 1


@given(LENGTHS, SLACKS, st.integers(1, 100))
def test_no_line_is_closed_that_had_room(lengths: list[int], slack: int, most: int) -> None:
    lines = split_rows(lengths, slack, most)
    for line, after in itertools.pairwise(lines):
        joined = [lengths[index] for index in (*line, after[0])]
        assert line_of(joined, slack).places > most


def test_without_a_bound_there_is_one_line_and_ties_keep_their_order() -> None:
    assert split_rows([4, 2, 4, 2], 0) == [[1, 3, 0, 2]]
    assert split_rows([4, 2, 4, 2], 0, limit=3) == [[1, 3], [0, 2]]
    assert split_rows([], 0) == []
