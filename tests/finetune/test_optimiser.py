"""AdamW against one written out in float64, and the learning rate as a table."""

import math

import numpy as np
import pytest
import torch

from mwalimu.finetune.optimiser import build_optimiser, learning_rate
from tests.finetune.jobs import settings

RATE, DECAY, BETA1, BETA2, EPSILON = 0.01, 0.1, 0.9, 0.999, 1e-8


def adamw(start: np.ndarray, gradients: list[np.ndarray], decay: float) -> np.ndarray:
    """Loshchilov and Hutter, algorithm 2: the decay does not pass through the moments."""
    weight = start.astype(np.float64)
    mean, square = np.zeros_like(weight), np.zeros_like(weight)
    for t, gradient in enumerate(gradients, 1):
        weight = weight - RATE * decay * weight
        mean = BETA1 * mean + (1 - BETA1) * gradient
        square = BETA2 * square + (1 - BETA2) * gradient**2
        step = (mean / (1 - BETA1**t)) / (np.sqrt(square / (1 - BETA2**t)) + EPSILON)
        weight = weight - RATE * step
    return weight


@pytest.mark.parametrize("shape, decay", [((5, 3), DECAY), ((7,), 0.0)])
def test_steps_are_those_of_a_float64_adamw(shape: tuple[int, ...], decay: float) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=shape)
    gradients = [rng.normal(size=shape) for _ in range(20)]
    parameter = torch.nn.Parameter(torch.tensor(start, dtype=torch.float32))
    config = settings(learning_rate=RATE, weight_decay=DECAY)
    optimiser = build_optimiser([("weight", parameter)], config)
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient, dtype=torch.float32)
        optimiser.step()
    expected = adamw(start, gradients, decay)
    np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=2e-5, atol=2e-6)


def test_matrices_decay_and_vectors_do_not() -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(4, 3), torch.nn.LayerNorm(3))
    groups = build_optimiser(model.named_parameters(), settings(weight_decay=0.1)).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.1), (2, 0.0)]


@pytest.mark.parametrize(
    "total, ratio, expected",
    [
        (1, 0.05, [1.0]),
        (4, 0.0, [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        (6, 0.5, [1 / 3, 2 / 3, 1.0, 1.0, 0.75, 0.25]),
        (3, 0.99, [1 / 3, 2 / 3, 1.0]),
    ],
)
def test_the_learning_rate_warms_up_and_then_falls_as_a_cosine(
    total: int, ratio: float, expected: list[float]
) -> None:
    config = settings(learning_rate=2.0, warmup_ratio=ratio)
    rates = [learning_rate(step, total, config) for step in range(total)]
    assert rates == pytest.approx([2.0 * value for value in expected])
