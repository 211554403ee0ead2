"""How rows of different lengths lie side by side as one batch.

Padded, they are one block, as wide as the longest row. Packed, they lie in a line, block behind
block, each of neighbours of about one length: a block is a rectangle, so attention takes it like
a padded batch of its own, while all that works token by token takes the line as a whole. The
padding in a block is bounded: with none, a block ends where the length changes.

Shapes: B rows, T places of a line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

PADDED = sys.maxsize
"""The slack of a batch that is one block."""


class Block(NamedTuple):
    """Rows of one width; those with fewer tokens are padded on the right."""

    rows: int
    width: int
    tokens: int

    @property
    def places(self) -> int:
        return self.rows * self.width

    @property
    def padding(self) -> int:
        return self.places - self.tokens

    def with_row(self, length: int) -> Block:
        return Block(self.rows + 1, max(self.width, length), self.tokens + length)


class Line:
    """Blocks that grow a row at a time, each with at most `slack` places of padding."""

    def __init__(self, slack: int) -> None:
        self.slack = slack
        self.blocks: list[Block] = []
        self.places = 0

    def take(self, length: int, most: int | None = None) -> bool:
        """Adds a row, unless the line is begun and would then have more than `most` places."""
        block = Block(1, length, length)
        places = self.places + length
        grown = self.blocks[-1].with_row(length) if self.blocks else block
        joins = bool(self.blocks) and grown.padding <= self.slack
        if joins:
            block, places = grown, self.places - self.blocks[-1].places + grown.places
        if self.blocks and most is not None and places > most:
            return False
        if joins:
            self.blocks.pop()
        self.blocks.append(block)
        self.places = places
        return True


@dataclass(frozen=True, slots=True)
class Layout:
    """`places_BT` tell how far into its row each token is; `starts` where the rows begin, and end.

    `masks` are made by whoever needs some, once a batch.
    """

    blocks: tuple[Block, ...]
    places_BT: torch.Tensor
    starts: torch.Tensor
    longest: int
    masks: dict[object, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, blocks: Sequence[Block], device: torch.device) -> Layout:
        """One block keeps its shape, (rows, width), several are one line, (1, places)."""
        places = [np.tile(np.arange(block.width), block.rows) for block in blocks]
        if len(blocks) == 1:
            places = [np.arange(blocks[0].width)]
        widths_B = np.repeat([b.width for b in blocks], [b.rows for b in blocks])
        starts = np.concatenate([[0], np.cumsum(widths_B)]).astype(np.int32)
        return cls(
            tuple(blocks),
            send(np.concatenate(places)[None], device),
            send(starts, device),
            int(widths_B.max()),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Of the batch's ids."""
        if len(self.blocks) == 1:
            return self.blocks[0].rows, self.blocks[0].width
        return 1, sum(block.places for block in self.blocks)


def split_rows(
    lengths: Sequence[int], slack: int, most: int | None = None, limit: int | None = None
) -> list[list[int]]:
    """Indices of rows, shortest first, in lines of at most `most` places, or of one row.

    Rows up to `limit` tokens and longer ones never share a line.
    """
    lines: list[list[int]] = []
    line = Line(slack)
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[index]
        crosses = limit is not None and bool(lines) and lengths[lines[-1][-1]] <= limit < length
        if not lines or crosses or not line.take(length, most):
            lines.append([])
            line = Line(slack)
            line.take(length)
        lines[-1].append(index)
    return lines


def send(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """To the device, without waiting for it."""
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
