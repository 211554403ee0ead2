"""Our steps: the decoder's states at the targets, then head and loss in one function.

Shapes: B rows, T tokens, N target tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from workload import Workload

from mwalimu.objectives.fused import fused_loss
from mwalimu.objectives.head import find_head
from mwalimu.objectives.parts import Part
from mwalimu.objectives.targets import LiveTarget, SampledTarget, SparseTarget, Target

Loss = Callable[[], torch.Tensor]


def sft(work: Workload) -> Loss:
    return _loss(work, lambda: None, Part("cross_entropy"))


def sampled(work: Workload) -> Loss:
    target = SampledTarget(work.sampled_ids_NK, work.sampled_weight_NK)
    return _loss(work, lambda: target, Part("forward_kl"))


def best(work: Workload) -> Loss:
    target = SparseTarget(work.best_ids_NK, work.best_logp_NK, work.tail_N)
    return _loss(work, lambda: target, Part("forward_kl"))


def live_kl(work: Workload) -> Loss:
    return _live(work, Part("forward_kl"))


def live_jsd(work: Workload) -> Loss:
    return _live(work, Part("jsd", parameter=0.5))


def _live(work: Workload, part: Part) -> Loss:
    teacher = work.teacher()
    head = find_head(teacher)
    assert head is not None

    @torch.no_grad()
    def target() -> Target:
        return LiveTarget(_states_NH(teacher, work), head)

    return _loss(work, target, part)


def _loss(work: Workload, target: Callable[[], Target | None], part: Part) -> Loss:
    head = find_head(work.student)
    assert head is not None

    def loss() -> torch.Tensor:
        hidden_NH = _states_NH(work.student, work)
        scale = 1 / work.size.num_targets
        return fused_loss(hidden_NH, head, work.labels_N, target(), [part], scale)[0]

    return loss


def _states_NH(model: Any, work: Workload) -> torch.Tensor:
    """No attention mask: nothing is padded on the left."""
    hidden_BTH = model.model(input_ids=work.ids_BT, use_cache=False).last_hidden_state
    return hidden_BTH.flatten(0, 1).index_select(0, work.positions_N)
