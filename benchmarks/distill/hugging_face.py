"""Plain supervised fine-tuning, as everyone does it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from workload import Workload


def sft(work: Workload) -> Callable[[], torch.Tensor]:
    inputs = {"input_ids": work.ids_BT, "attention_mask": work.mask_BT, "labels": work.labels_BT}

    def loss() -> torch.Tensor:
        # As Trainer calls it: the sum over the targets by their number in the whole step.
        return work.student(
            **inputs, use_cache=False, num_items_in_batch=work.size.num_targets
        ).loss

    return loss
