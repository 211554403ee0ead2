"""Liger's chunked JSD in torch: the states of all positions, labels mark which of them count."""

from __future__ import annotations

from collections.abc import Callable

import torch
from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss
from workload import Workload


def jsd(work: Workload) -> Callable[[], torch.Tensor]:
    teacher = work.teacher()
    # Compiled and in chunks of 1,024 tokens, its defaults; no cross-entropy, as in the other arms.
    divergence = LigerFusedLinearJSDLoss(weight_hard_loss=0.0, weight_soft_loss=1.0, beta=0.5)
    inputs = {"input_ids": work.ids_BT, "attention_mask": work.mask_BT, "use_cache": False}

    def loss() -> torch.Tensor:
        student_BTH = work.student.model(**inputs).last_hidden_state
        with torch.no_grad():
            teacher_BTH = teacher.model(**inputs).last_hidden_state
        return divergence(
            student_BTH[:, :-1].flatten(0, 1),
            work.student.lm_head.weight,
            teacher_BTH[:, :-1].flatten(0, 1),
            teacher.lm_head.weight,
            work.labels_BT[:, 1:].flatten(),
        )

    return loss
