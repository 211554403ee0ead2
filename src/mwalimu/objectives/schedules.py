"""Weights and temperatures that change with the training, or from row to row.

Shapes: N target tokens, R rows.
"""

from __future__ import annotations

import torch

from mwalimu.config import Schedule, Scheduled, goes_by_row
from mwalimu.objectives.parts import Amount
from mwalimu.objectives.targets import DenseTarget, SampledTarget, SparseTarget, Target
from mwalimu.objectives.token_logprobs import token_logprobs


def amount(
    scheduled: Scheduled, progress: float, confidence_N: torch.Tensor | None = None
) -> Amount:
    """The number that holds at `progress` (0 to 1), or one a token by its row's confidence.

    Raises:
        ValueError: it goes by the teacher's confidence, and there is no teacher.
    """
    if not isinstance(scheduled, Schedule):
        return scheduled
    if not goes_by_row(scheduled):
        return scheduled.at(progress)
    if confidence_N is None:
        raise ValueError("a per_sample schedule needs the teacher's distribution")
    return scheduled.start + (scheduled.end - scheduled.start) * confidence_N


def number(scheduled: Scheduled, progress: float) -> float:
    """One for the whole batch. Raises ValueError for a schedule from row to row."""
    found = amount(scheduled, progress)
    assert not isinstance(found, torch.Tensor)
    return found


@torch.no_grad()
def confidence(target: Target, labels_N: torch.Tensor, sizes_R: torch.Tensor) -> torch.Tensor:
    """How sure the teacher is of each row: the mean probability of its labels, one value a token.

    `sizes_R` are the target tokens of each row. Of draws the probability is the share that fell on
    the label; a label outside of the best counts as 0.
    """
    p_N = _probability(target, labels_N).float()
    rows_N = torch.arange(len(sizes_R), device=p_N.device).repeat_interleave(sizes_R)
    sums_R = p_N.new_zeros(len(sizes_R)).index_add_(0, rows_N, p_N)
    return (sums_R / sizes_R.clamp(min=1))[rows_N]


def _probability(target: Target, labels_N: torch.Tensor) -> torch.Tensor:
    labels_N1 = labels_N[:, None]
    if isinstance(target, SampledTarget):
        return (target.weight_NK * (target.ids_NK == labels_N1)).sum(1)
    if isinstance(target, SparseTarget):
        return (target.logp_NK.exp() * (target.ids_NK == labels_N1)).sum(1)
    if isinstance(target, DenseTarget):
        return target.logp_NV.log_softmax(1).gather(1, labels_N1)[:, 0].exp()
    return token_logprobs(target.hidden_NH, target.head, labels_N).exp()
