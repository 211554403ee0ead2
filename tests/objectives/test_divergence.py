"""The closed forms against their formulas in probabilities, and what is true of divergences."""

import math

import numpy as np
import pytest
import torch

from mwalimu.objectives.divergence import DIVERGENCES, NO_MASS, divergence
from tests.objectives.reference import STEP, Array, divergence_terms, softmax

PARAMETERS = (0.1, 0.5, 0.9)
ROWS, CATEGORIES = 200, 9


def random_pairs(seed: int = 0) -> tuple[Array, Array]:
    """p and q, [ROWS, CATEGORIES], some flat, some nearly sure."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(2, ROWS, CATEGORIES)) * rng.choice([0.1, 2.0, 6.0], size=(2, ROWS, 1))
    p, q = softmax(scores)
    return p, q


def logarithm(p: Array) -> torch.Tensor:
    return torch.tensor(p).log().clamp(min=NO_MASS)


def value(kind: str, p: Array, q: Array, parameter: float = 0.5) -> Array:
    """The divergence of each row."""
    values, _ = divergence(kind, logarithm(p), logarithm(q), parameter)
    return values.sum(1).numpy()


@pytest.mark.parametrize("parameter", PARAMETERS)
@pytest.mark.parametrize("kind", DIVERGENCES)
def test_values_and_slopes_are_those_of_the_formula(kind: str, parameter: float) -> None:
    p, q = random_pairs()
    values, q_g = divergence(kind, logarithm(p), logarithm(q), parameter)
    expected = sum(divergence_terms(kind, p, q, parameter))
    np.testing.assert_allclose(values.sum(1).numpy(), expected, rtol=1e-12, atol=1e-14)
    for category in range(CATEGORIES):
        stepped = q.astype(complex)
        stepped[:, category] += 1j * STEP
        slope = sum(divergence_terms(kind, p, stepped, parameter)).imag / STEP
        got = q_g[:, category].numpy()
        np.testing.assert_allclose(got, q[:, category] * slope, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_it_is_positive_and_nothing_only_between_equals(kind: str) -> None:
    p, q = random_pairs()
    assert (value(kind, p, q) > 0).all()
    np.testing.assert_allclose(value(kind, p, p), 0, atol=1e-12)


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_putting_categories_together_never_adds(kind: str) -> None:
    p, q = random_pairs()

    def grouped(x: Array) -> Array:
        return np.concatenate([x[:, :3], x[:, 3:].sum(1, keepdims=True)], 1)

    assert (value(kind, grouped(p), grouped(q)) <= value(kind, p, q) + 1e-12).all()


def test_known_bounds_hold() -> None:
    p, q = random_pairs()
    variation = value("total_variation", p, q)
    assert (value("jsd", p, q) <= math.log(2)).all()
    assert (variation <= 1).all()
    assert (2 * variation**2 <= value("forward_kl", p, q) + 1e-12).all()  # Pinsker
    np.testing.assert_allclose(value("jsd", p, q, 0.3), value("jsd", q, p, 0.7), rtol=1e-12)
    np.testing.assert_allclose(variation, value("total_variation", q, p), rtol=1e-12)


def test_reverse_is_forward_with_the_sides_changed() -> None:
    p, q = random_pairs()
    one, other = value("forward_kl", p, q), value("reverse_kl", q, p)
    np.testing.assert_allclose(one, other, rtol=1e-12)
    for alpha in PARAMETERS:
        forward, reverse = (
            value("skew_forward_kl", p, q, alpha),
            value("skew_reverse_kl", q, p, alpha),
        )
        np.testing.assert_allclose(forward, reverse, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", DIVERGENCES)
def test_categories_without_mass_on_either_side_give_finite_numbers(
    kind: str, dtype: torch.dtype
) -> None:
    logs = torch.tensor([NO_MASS, NO_MASS, -60.0, -1e-9, 0.0], dtype=dtype)
    for found in divergence(kind, logs[:, None], logs[None], 0.5):
        assert found.isfinite().all()
    for found in divergence(kind, logs[:2], logs[:2], 0.5):
        assert not found.any()
