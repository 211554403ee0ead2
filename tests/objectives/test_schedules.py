"""Weights and temperatures over the training and from row to row, against numpy in float64."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from mwalimu.config import PartConfig, Schedule, goes_by_row
from mwalimu.errors import MwalimuError
from mwalimu.objectives.head import Head
from mwalimu.objectives.schedules import amount, confidence, number
from mwalimu.objectives.targets import (
    DenseTarget,
    LiveTarget,
    SampledTarget,
    SparseTarget,
    Target,
)

TOKENS, WIDTH, HIDDEN = 9, 11, 4
SIZES = [3, 1, 5]


def test_a_constant_is_itself() -> None:
    for value in (0.0, 0.25, 3.0):
        assert amount(value, 0.7) == number(value, 0.7) == value


@pytest.mark.parametrize(("start", "end"), [(1.0, 3.0), (2.0, 0.0), (0.5, 0.5)])
@pytest.mark.parametrize("over", [1.0, 0.4])
@pytest.mark.parametrize("progress", [0.0, 0.1, 0.25, 0.4, 0.9, 1.0])
def test_linear_and_cosine(start: float, end: float, over: float, progress: float) -> None:
    done = min(1.0, progress / over)
    linear = Schedule(start=start, end=end, over=over)
    assert number(linear, progress) == pytest.approx((1 - done) * start + done * end)
    cosine = Schedule(start=start, end=end, over=over, shape="cosine")
    middle, half = (start + end) / 2, (start - end) / 2
    assert number(cosine, progress) == pytest.approx(middle + half * math.cos(math.pi * done))


def test_a_cosine_is_flat_at_both_ends() -> None:
    cosine = Schedule(start=0, end=1, shape="cosine")
    assert cosine.at(0.01) < 0.001 and cosine.at(0.99) > 0.999
    assert cosine.at(0.5) == pytest.approx(0.5)


class Case:
    """A teacher in every form, and its exact probabilities of the labels."""

    def __init__(self, form: str) -> None:
        rng = np.random.default_rng(5)
        logits_NV = 3 * rng.normal(size=(TOKENS, WIDTH))
        self.labels_N = rng.integers(0, WIDTH, TOKENS)
        self.target, p_NV = getattr(self, f"_{form}")(rng, logits_NV)
        self.p_N = p_NV[np.arange(TOKENS), self.labels_N]

    def _dense(self, rng: Any, logits_NV: np.ndarray) -> tuple[Target, np.ndarray]:
        return DenseTarget(torch.from_numpy(logits_NV)), softmax(logits_NV)

    def _live(self, rng: Any, logits_NV: np.ndarray) -> tuple[Target, np.ndarray]:
        """Columns beyond the vocabulary are padding: no mass goes there."""
        hidden_NH, weight_VH = rng.normal(size=(TOKENS, HIDDEN)), rng.normal(size=(16, HIDDEN))
        head = Head(torch.from_numpy(weight_VH), scale=0.5, vocabulary=WIDTH)
        return (
            LiveTarget(torch.from_numpy(hidden_NH), head),
            softmax(0.5 * hidden_NH @ weight_VH[:WIDTH].T),
        )

    def _sparse(self, rng: Any, logits_NV: np.ndarray) -> tuple[Target, np.ndarray]:
        """Four of the best; the first token has but two. What is not among them counts as 0."""
        p_NV = softmax(logits_NV)
        ids_NK = np.argsort(-p_NV, axis=1)[:, :4]
        logp_NK = np.log(np.take_along_axis(p_NV, ids_NK, 1))
        ids_NK[0, 2:], logp_NK[0, 2:] = self.labels_N[0], -np.inf  # pads, here of the label's id
        known_NV = np.zeros_like(p_NV)
        for n in range(TOKENS):
            for k in range(4 if n else 2):
                known_NV[n, ids_NK[n, k]] = p_NV[n, ids_NK[n, k]]
        tail_N = np.log(1 - known_NV.sum(1))
        arrays = (ids_NK, logp_NK, tail_N)
        return SparseTarget(*map(torch.from_numpy, arrays)), known_NV

    def _sampled(self, rng: Any, logits_NV: np.ndarray) -> tuple[Target, np.ndarray]:
        counts_NV = rng.multinomial(6, softmax(logits_NV))
        ids_NK = np.argsort(-counts_NV, axis=1)[:, :6]
        weight_NK = np.take_along_axis(counts_NV, ids_NK, 1) / 6
        arrays = (ids_NK, weight_NK.astype(np.float32))
        return SampledTarget(*map(torch.from_numpy, arrays)), counts_NV / 6

    def confidence(self) -> np.ndarray:
        """A row's mean, once for each of its tokens."""
        rows = np.split(self.p_N, np.cumsum(SIZES)[:-1])
        return np.concatenate([np.full(len(row), row.mean()) for row in rows])


def softmax(logits_NV: np.ndarray) -> np.ndarray:
    powers = np.exp(logits_NV - logits_NV.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize("form", ["dense", "live", "sparse", "sampled"])
def test_confidence_is_a_rows_mean_probability_of_its_answer(form: str) -> None:
    case = Case(form)
    labels_N, sizes_R = torch.from_numpy(case.labels_N), torch.tensor(SIZES)
    found_N = confidence(case.target, labels_N, sizes_R)
    expected = case.confidence()
    assert len(set(expected.tolist())) == len(SIZES)
    np.testing.assert_allclose(found_N.numpy(), expected, rtol=1e-6)
    schedule = Schedule(start=2.0, end=0.5, shape="per_sample")
    assert goes_by_row(schedule) and not goes_by_row(Schedule(start=2.0, end=0.5))
    weights_N = amount(schedule, 0.9, found_N)
    assert isinstance(weights_N, torch.Tensor)
    np.testing.assert_allclose(weights_N.numpy(), 2.0 - 1.5 * expected, rtol=1e-6)
    for one, value in zip(weights_N.tolist(), found_N.tolist(), strict=True):
        assert one == pytest.approx(schedule.at(value))


def test_a_row_without_targets_disturbs_no_other() -> None:
    logits_NV = torch.zeros(3, 2)
    found_N = confidence(DenseTarget(logits_NV), torch.tensor([0, 1, 0]), torch.tensor([2, 0, 1]))
    assert found_N.tolist() == [0.5, 0.5, 0.5]


def test_a_schedule_by_row_needs_rows() -> None:
    schedule = Schedule(start=1, end=2, shape="per_sample")
    for ask in (amount, number):
        with pytest.raises(ValueError, match="needs the teacher's distribution"):
            ask(schedule, 0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"temperature": {"start": 1.0, "end": 0.0}},
        {"weight": -1.0},
        {"weight": {"start": 1.0, "end": -0.1}},
        {"weight": {"start": 1.0, "end": 2.0, "over": 0.0}},
        {"weight": {"start": 1.0, "end": 2.0, "shape": "square"}},
    ],
)
def test_amounts_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, MwalimuError)):
        PartConfig.model_validate({"kind": "forward_kl"} | wrong)
