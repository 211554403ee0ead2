"""A chunk's loss and gradient against whole softmaxes in float64, on thousands of tokens."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from mwalimu.objectives.divergence import DIVERGENCES
from mwalimu.objectives.kernels import chunk_loss
from mwalimu.objectives.parts import Part, by_temperature
from mwalimu.objectives.targets import DenseTarget, SampledTarget, SparseTarget
from tests.figures import record
from tests.objectives import cases
from tests.objectives.reference import Array, answer

EXACT = [(np.float64, 1e-12), (np.float32, 1e-6)]
CALLS, TOKENS = 50, 32
NONE = -math.inf


def errors_of_a_call(rng: np.random.Generator, form: str, kind: Any) -> tuple[Array, Array]:
    """Of the values of the parts, and of each token's gradient.

    A value's error is relative to the sum of the sizes of its terms. A gradient's is relative to
    its norm or, where that is smaller, to the size of what it is a difference of: where student
    and teacher agree, their difference is only as exact as they are.
    """
    width = int(rng.integers(8, 40))
    scores_NV = cases.student_scores(rng, TOKENS, width).astype(kind).astype(np.float64)
    teacher = cases.teacher_of(rng, form, cases.teacher_scores(rng, scores_NV), kind)
    losses, parts = cases.random_losses(rng, form, TOKENS, kind)
    labels_N = rng.integers(width, size=TOKENS)
    scale = float(rng.choice([1.0, 0.01]))
    expected = answer(scores_NV, labels_N, teacher, losses, scale)
    grad_NV = torch.tensor(scores_NV.astype(kind))
    target: Any = cases.target_of(teacher, grad_NV.dtype)
    values_PN = chunk_loss(grad_NV, torch.tensor(labels_N), target, parts, scale)
    of_values = abs(values_PN.sum(1).double().numpy() - expected.sums_P) / expected.size_P
    off_N = np.linalg.norm(grad_NV.double().numpy() - expected.grad_NV, axis=1)
    norms_N = np.linalg.norm(expected.grad_NV, axis=1)
    sizes_N = np.maximum(norms_N, expected.grad_size_N)
    return of_values, off_N / np.where(sizes_N > 0, sizes_N, 1.0)


@pytest.mark.parametrize(("kind", "tolerance"), EXACT)
@pytest.mark.parametrize("form", cases.FORMS)
def test_sixteen_thousand_tokens_have_the_value_and_gradient_of_the_formula(
    form: str, kind: Any, tolerance: float
) -> None:
    rng = np.random.default_rng(len(form))
    worst = 0.0
    for _ in range(CALLS):
        errors = errors_of_a_call(rng, form, kind)
        worst = max(worst, *(float(error.max()) for error in errors))
        assert worst <= tolerance
    what = f"{form}, {np.dtype(kind).name}"
    note = f"worst relative error {worst:.1e} of {tolerance:.0e}"
    record("R13", what, tried=CALLS * TOKENS, seed=len(form), note=note)


SCORES_1V = torch.tensor([[1.0, 2.0, 3.0, 0.0]])
LABEL = torch.tensor([2])
ALL_IDS = torch.arange(4)[None]


def gradient(target: Any, *parts: Part, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    grad_1V = SCORES_1V.clone()
    values_P1 = chunk_loss(grad_1V, LABEL, target, parts, scale)
    return values_P1[:, 0], grad_1V[0]


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_a_tail_that_rounding_left_where_all_tokens_are_named_gives_no_nan(kind: str) -> None:
    logp_1K = SCORES_1V.log_softmax(1) + math.log(0.5)
    target = SparseTarget(ALL_IDS, logp_1K, torch.tensor([math.log(0.5)]))
    values, grad_V = gradient(target, Part(kind, 4.0, 8.0), scale=100.0)
    assert values.isfinite().all() and grad_V.isfinite().all()


def test_a_token_without_draws_teaches_nothing_and_half_the_draws_half() -> None:
    whole = SampledTarget(ALL_IDS, torch.tensor([[0.5, 0.25, 0.0, 0.25]]))
    values, grad_V = gradient(whole, Part("forward_kl"))
    half = SampledTarget(ALL_IDS, whole.weight_NK / 2)
    half_values, half_grad_V = gradient(half, Part("forward_kl"))
    torch.testing.assert_close(half_values, values / 2)
    torch.testing.assert_close(half_grad_V, grad_V / 2)
    none_values, none_grad_V = gradient(
        SampledTarget(ALL_IDS, torch.zeros(1, 4)), Part("forward_kl")
    )
    assert none_values.item() == 0 and not none_grad_V.any()


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_a_teacher_of_nothing_but_pads_and_no_tail_teaches_nothing(kind: str) -> None:
    target = SparseTarget(ALL_IDS, torch.full((1, 4), NONE), torch.tensor([0.0]))
    values, grad_V = gradient(target, Part(kind))
    assert values.item() == pytest.approx(0, abs=1e-6) and not grad_V.any()


def test_a_pad_may_name_a_token_that_is_among_the_best() -> None:
    tail = math.log1p(-math.exp(-0.1))
    one = SparseTarget(torch.tensor([[2]]), torch.tensor([[-0.1]]), torch.tensor([tail]))
    expected, expected_V = gradient(one, Part("forward_kl"), Part("cross_entropy", 0.5))
    for ids, logp in (([2, 2], [NONE, -0.1]), ([2, 2, 0], [-0.1, NONE, NONE])):
        padded = SparseTarget(torch.tensor([ids]), torch.tensor([logp]), torch.tensor([tail]))
        values, grad_V = gradient(padded, Part("forward_kl"), Part("cross_entropy", 0.5))
        torch.testing.assert_close(values, expected)
        torch.testing.assert_close(grad_V, expected_V)


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_a_teacher_with_fewer_tokens_gives_the_others_nothing(kind: str) -> None:
    narrow = DenseTarget(torch.tensor([[0.5, 0.1, 0.9]]))
    padded = DenseTarget(torch.tensor([[0.5, 0.1, 0.9, NONE]]))
    for got, expected in zip(
        gradient(narrow, Part(kind)), gradient(padded, Part(kind)), strict=True
    ):
        torch.testing.assert_close(got, expected)
        assert got.isfinite().all()


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_a_student_like_its_teacher_stays(kind: str) -> None:
    logp_1V = SCORES_1V.log_softmax(1)
    tail = logp_1V[:, [0, 3]].logsumexp(1)
    best = SparseTarget(torch.tensor([[2, 1]]), logp_1V[:, [2, 1]], tail)
    for target in (DenseTarget(SCORES_1V), best):
        values, grad_V = gradient(target, Part(kind))
        assert values.item() == pytest.approx(0, abs=1e-6)
        # The total variation has a kink there: rounding picks its side.
        assert kind == "total_variation" or grad_V.abs().max() < 1e-6


def test_parts_share_a_softmax_where_they_share_a_temperature() -> None:
    each_N = torch.tensor([1.0, 2.0, 3.0, 4.0])
    parts = [
        Part("cross_entropy", 1.0, 1.0),
        Part("forward_kl", 1.0, each_N),
        Part("reverse_kl", 1.0, 2.0),
        Part("jsd", 1.0, each_N),
        Part("reverse_kl", 1.0, 1.0),
        Part("jsd", 1.0, each_N.clone()),
    ]
    expected = [[0, 4], [1, 3], [2], [5]]
    assert by_temperature(parts) == expected
    assert by_temperature([part.rows(slice(1, 3)) for part in parts]) == expected


@pytest.mark.parametrize(
    "wrong", [{"kind": "kl"}, {"kind": "jsd", "parameter": 0.0}, {"kind": "jsd", "parameter": 1.0}]
)
def test_a_part_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Part(**wrong)
