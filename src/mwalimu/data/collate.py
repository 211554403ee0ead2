"""Rows to tensors of a batch, and where their targets are.

Shapes: B rows, T tokens of the longest row, or 1 line of T places; N target tokens of the whole
batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mwalimu.data.layout import PADDED, Layout, Line, send
from mwalimu.data.tokenize import Encoded


@dataclass(frozen=True, slots=True)
class Batch:
    """`positions_N` index the flattened (B*T) places whose next token is `labels_N`.

    The targets stand row by row: `sizes_B` of them are of each of the `rows`. `places_N` are the
    positions, on the host. `on_policy`: the answers are the student's own. What does not count only
    keeps step with other processes.

    No attention mask: padding is on the right, where a causal model cannot see it from a real
    token, and without a mask attention takes its fastest kernel.
    """

    rows: Sequence[Encoded]
    ids_BT: torch.Tensor
    positions_N: torch.Tensor
    labels_N: torch.Tensor
    sizes_B: torch.Tensor
    places_N: torch.Tensor
    layout: Layout
    on_policy: bool = False
    counts: bool = True


def collate(
    rows: Sequence[Encoded],
    *,
    pad_id: int,
    device: torch.device,
    slack: int = PADDED,
    on_policy: bool = False,
) -> Batch:
    """Ids and where the targets are; with a `slack` that is not PADDED the rows are packed.

    Packing is the tighter the closer rows of one length stand together.
    """
    line = Line(slack)
    for row in rows:
        line.take(len(row))
    widths_B = [block.width for block in line.blocks for _ in range(block.rows)]
    ids_P = np.full(line.places, pad_id, dtype=np.int64)
    mask_P = np.zeros(line.places, dtype=bool)
    start, sizes_B = 0, []
    for row, width in zip(rows, widths_B, strict=True):
        end = start + len(row)
        ids_P[start:end] = np.frombuffer(row.tokens, np.intc)
        mask_P[start:end] = np.frombuffer(row.learned, bool)
        mask_P[start] = False  # nothing stands before a first token that could predict it
        sizes_B.append(np.count_nonzero(mask_P[start:end]))
        start += width
    targets_N = np.flatnonzero(mask_P)
    layout = Layout.of(line.blocks, device)
    return Batch(
        rows,
        ids_BT=send(ids_P.reshape(layout.shape), device),
        positions_N=send(targets_N - 1, device),
        labels_N=send(ids_P[targets_N], device),
        sizes_B=send(np.array(sizes_B), device),
        places_N=torch.from_numpy(targets_N - 1),
        layout=layout,
        on_policy=on_policy,
    )
