"""Rows to padded tensors, and where their targets are.

Shapes: B rows, T tokens of the longest row, N target tokens of the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mwalimu.data.tokenize import Encoded


@dataclass(frozen=True, slots=True)
class Batch:
    """`positions_N` index the flattened (B*T) positions whose next token is `labels_N`.

    The targets stand row by row: `sizes_B` of them are of each of the `rows`. `on_policy`: the
    answers are the student's own.

    No attention mask: padding is on the right, where a causal model cannot see it from a real
    token, and without a mask attention takes its fastest kernel.
    """

    rows: Sequence[Encoded]
    ids_BT: torch.Tensor
    positions_N: torch.Tensor
    labels_N: torch.Tensor
    sizes_B: torch.Tensor
    on_policy: bool = False


def collate(
    rows: Sequence[Encoded], *, pad_id: int, device: torch.device, on_policy: bool = False
) -> Batch:
    """Right-padded ids and where the targets are."""
    width = max(len(row.ids) for row in rows)
    ids_BT = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask_BT = np.zeros((len(rows), width), dtype=bool)
    for index, row in enumerate(rows):
        ids_BT[index, : len(row.ids)] = row.ids
        mask_BT[index, : len(row.ids)] = row.labels_mask
    mask_BT[:, 0] = False  # nothing stands before a first token that could predict it
    targets_N = np.flatnonzero(mask_BT)
    labels_N = ids_BT.ravel()[targets_N]
    return Batch(
        rows,
        ids_BT=_to(ids_BT, device),
        positions_N=_to(targets_N - 1, device),
        labels_N=_to(labels_N, device),
        sizes_B=_to(mask_BT.sum(1), device),
        on_policy=on_policy,
    )


def _to(array: np.ndarray, device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
