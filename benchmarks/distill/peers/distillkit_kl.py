"""DistillKit's KL from a cache of the best tokens: its loss, called as its trainer calls it.

The trainer hands `labels` to the model too, so transformers' cross-entropy is computed and dropped;
a prompt's positions are projected and masked. The cached tokens are given unpacked.

Shapes: B rows, T tokens, N target tokens, K entries a token.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from distillkit.lossfuncs import KLDLoss, MissingProbabilityHandling
from distillkit.signals import SparseSignal
from workload import IGNORED, Workload


def sparse_kl(work: Workload) -> Callable[[], torch.Tensor]:
    divergence = KLDLoss(
        temperature=1.0,
        missing_probability_handling=MissingProbabilityHandling.SYMMETRIC_UNIFORM,
    )
    signal = SparseSignal(
        generation_temperature=1.0,
        hidden_states=None,
        vocab_size=work.size.vocabulary,
        sparse_ids=_over_rows(work, work.best_ids_NK),
        sparse_values=_over_rows(work, work.best_logp_NK),
        log_values=True,
    )
    # Its mask is of the position, not of the token that is predicted: moved, so that it is right.
    labels_BT = torch.full_like(work.ids_BT, IGNORED)
    labels_BT.view(-1)[work.positions_N] = work.labels_N
    inputs = {"input_ids": work.ids_BT, "attention_mask": work.mask_BT, "labels": labels_BT}

    def loss() -> torch.Tensor:
        outputs = work.student(**inputs, return_dict=True)
        found: torch.Tensor = divergence(outputs, signal, mask=(labels_BT >= 0).unsqueeze(-1))
        return found

    return loss


def _over_rows(work: Workload, values_NK: torch.Tensor) -> torch.Tensor:
    """[B, T, K], of which only the positions that predict a target are read for the loss."""
    shape = (work.ids_BT.numel(), values_NK.shape[1])
    whole = values_NK[:1].expand(shape).clone()
    whole[work.positions_N] = values_NK
    return whole.view(*work.ids_BT.shape, -1)
