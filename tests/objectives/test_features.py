"""Hidden-state losses against float64 numpy written apart; projections."""

import numpy as np
import pytest
import torch

from mwalimu.objectives.features import EPSILON, FEATURE_KINDS, Projections, feature_loss
from mwalimu.objectives.layers import LayerPair

PAIRS = [LayerPair(0, 1), LayerPair(3, 7)]


def numpy_sum(student_NH, teacher_NH, kind: str, normalise: bool) -> float:
    total = 0.0
    for s, t in zip(student_NH.double().numpy(), teacher_NH.double().numpy(), strict=True):
        if kind == "cosine":
            total += 1 - (s @ t) / (np.linalg.norm(s) * np.linalg.norm(t))
            continue
        if normalise:
            s, t = (x / np.sqrt(np.mean(x**2) + EPSILON) for x in (s, t))
        total += np.mean((s - t) ** 2)
    return total


def states(*, tokens: int = 7, size: int = 5, dtype=torch.float32, seed: int = 0):
    torch.manual_seed(seed)
    students = [(3 * torch.randn(tokens, size)).to(dtype).requires_grad_() for _ in PAIRS]
    return students, [torch.randn(tokens, size).to(dtype) for _ in PAIRS]


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("kind", FEATURE_KINDS)
def test_sums_of_each_pair(kind, normalise: bool) -> None:
    students, teachers = states()
    loss, sums_P = feature_loss(students, teachers, kind, 0.25, normalise=normalise)
    expected = [
        numpy_sum(s.detach(), t, kind, normalise) for s, t in zip(students, teachers, strict=True)
    ]
    assert sums_P.tolist() == pytest.approx(expected, rel=1e-5)
    assert float(loss.detach()) == pytest.approx(0.25 * sum(expected), rel=1e-5)
    assert not sums_P.requires_grad


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("kind", FEATURE_KINDS)
def test_gradient(kind, normalise: bool) -> None:
    students, teachers = states(tokens=3, dtype=torch.float64)

    def loss(*students):
        return feature_loss(students, teachers, kind, 0.5, normalise=normalise)[0]

    assert torch.autograd.gradcheck(loss, tuple(students))


@pytest.mark.parametrize("kind", FEATURE_KINDS)
def test_the_scale_reaches_loss_and_gradient_once(kind) -> None:
    students, teachers = states()
    feature_loss(students, teachers, kind, 1.0)[0].backward()
    whole = [s.grad.clone() for s in students]
    for student in students:
        student.grad = None
    feature_loss(students, teachers, kind, 0.125)[0].backward()
    for student, grad in zip(students, whole, strict=True):
        torch.testing.assert_close(student.grad, grad / 8)


def test_micro_batches_add_up() -> None:
    students, teachers = states()
    whole, sums_P = feature_loss(students, teachers, "mse", 0.1)
    halves = [
        feature_loss([s[part] for s in students], [t[part] for t in teachers], "mse", 0.1)
        for part in (slice(0, 2), slice(2, 7))
    ]
    torch.testing.assert_close(halves[0][0] + halves[1][0], whole)
    torch.testing.assert_close(halves[0][1] + halves[1][1], sums_P)


def test_half_precision_is_summed_in_float32() -> None:
    student_NH = torch.zeros(4096, 8, dtype=torch.bfloat16, requires_grad=True)
    teacher_NH = torch.ones(4096, 8, dtype=torch.float16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, sums_P = feature_loss([student_NH], [teacher_NH], "mse", 1 / 4096)
    assert (float(sums_P), float(loss.detach()), sums_P.dtype) == (4096.0, 1.0, torch.float32)
    loss.backward()
    assert student_NH.grad.dtype == torch.bfloat16
    torch.testing.assert_close(student_NH.grad.float(), torch.full((4096, 8), -2 / 8 / 4096))


def test_cosine_of_a_zero_state_is_finite() -> None:
    student_NH = torch.zeros(1, 4, requires_grad=True)
    loss, _ = feature_loss([student_NH], [torch.ones(1, 4)], "cosine", 1.0)
    loss.backward()
    assert float(loss.detach()) == 1.0 and student_NH.grad.isfinite().all()


def test_without_gradients() -> None:
    students, teachers = states()
    with torch.no_grad():
        loss, _ = feature_loss(students, teachers, "mse", 1.0)
    assert not loss.requires_grad


@pytest.mark.parametrize(("student", "teacher"), [(16, 64), (64, 16)])
def test_projections_keep_the_size_of_a_state(student: int, teacher: int) -> None:
    projections = Projections(PAIRS, student, teacher, seed=3)
    torch.manual_seed(0)
    states_NH = torch.randn(4000, student)
    for pair in PAIRS:
        projected_NH = projections(states_NH, pair)
        assert projected_NH.shape == (4000, teacher)
        ratio = projected_NH.square().mean() / states_NH.square().mean()
        assert float(ratio.detach()) == pytest.approx(1, abs=0.05)
        weight = projections.maps[f"{pair.student}-{pair.teacher}"].weight.detach().double()
        gram = weight.T @ weight if teacher > student else weight @ weight.T
        expected = torch.eye(min(student, teacher)).double() * max(1, teacher / student)
        torch.testing.assert_close(gram, expected, atol=1e-5, rtol=0)


def test_a_matrix_depends_on_seed_and_pair_alone() -> None:
    before = torch.random.get_rng_state()
    both = Projections(PAIRS, 4, 6, seed=3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert list(both) == ["maps.0-1.weight", "maps.3-7.weight"]
    one = Projections(PAIRS[1:], 4, 6, seed=3).state_dict()
    assert torch.equal(one["maps.3-7.weight"], both["maps.3-7.weight"])
    other = Projections(PAIRS, 4, 6, seed=4).state_dict()
    assert not torch.equal(other["maps.3-7.weight"], both["maps.3-7.weight"])
    assert not torch.equal(both["maps.0-1.weight"], both["maps.3-7.weight"])


def test_equal_sizes_need_no_projection() -> None:
    states_NH = torch.randn(2, 4)
    nothing = Projections(PAIRS, 4, 4, seed=0)
    assert nothing(states_NH, PAIRS[0]) is states_NH
    assert list(nothing.parameters()) == []
    assert len(list(Projections(PAIRS, 4, 4, seed=0, always=True).parameters())) == 2


def test_projections_learn_with_half_precision_states() -> None:
    projections = Projections(PAIRS[:1], 4, 6, seed=0)
    states_NH = torch.randn(5, 4, dtype=torch.bfloat16, requires_grad=True)
    projected_NH = projections(states_NH, PAIRS[0])
    loss, _ = feature_loss([projected_NH], [torch.randn(5, 6)], "mse", 1.0)
    loss.backward()
    assert all(p.grad is not None for p in projections.parameters())
    assert states_NH.grad.dtype == torch.bfloat16
