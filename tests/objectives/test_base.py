"""The term in nats, against logarithms written out."""

import math

import pytest
import torch

from mwalimu.objectives.base import cross_entropy_sum


def test_the_sum_is_of_negative_log_probabilities() -> None:
    logits_NV = torch.tensor([[0.0, 1.0, -2.0], [3.0, 0.5, 0.5]])
    labels_N = torch.tensor([1, 2])
    expected = 0.0
    for row, label in zip(logits_NV.tolist(), labels_N.tolist(), strict=True):
        expected -= math.log(math.exp(row[label]) / sum(math.exp(x) for x in row))
    term = cross_entropy_sum(logits_NV, labels_N)
    assert float(term.sum_nats) == pytest.approx(expected, rel=1e-6)
    assert term.num_tokens == 2


def test_terms_add_up_whatever_the_split() -> None:
    torch.manual_seed(0)
    logits_NV, labels_N = torch.randn(12, 5), torch.randint(5, (12,))
    whole = cross_entropy_sum(logits_NV, labels_N)
    parts = [cross_entropy_sum(logits_NV[i:j], labels_N[i:j]) for i, j in ((0, 1), (1, 9), (9, 12))]
    assert sum(part.num_tokens for part in parts) == whole.num_tokens
    total = sum(float(part.sum_nats) for part in parts)
    assert total == pytest.approx(float(whole.sum_nats), rel=1e-6)


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits_NV = torch.zeros(4096, 3, dtype=torch.bfloat16)
    term = cross_entropy_sum(logits_NV, torch.zeros(4096, dtype=torch.long))
    assert term.sum_nats.dtype == torch.float32
    assert float(term.sum_nats) == pytest.approx(4096 * math.log(3), rel=1e-5)
