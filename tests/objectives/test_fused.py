"""Head and loss together, against whole softmaxes of whole logits in float64, and by symmetry."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mwalimu.objectives.fused import fused_loss
from mwalimu.objectives.head import Head
from mwalimu.objectives.parts import Part
from mwalimu.objectives.targets import DenseTarget, LiveTarget, SampledTarget, Target
from tests.objectives import cases
from tests.objectives.reference import Array, Full, answer, logits_of

EXACT = [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)]
CALLS, TOKENS = 12, 24


def numbers(tensor: torch.Tensor) -> Array:
    return tensor.detach().double().numpy()


def raw_scores(hidden: torch.Tensor, head: Head) -> Array:
    """hidden @ weight.T + bias in float64."""
    bias = 0.0 if head.bias_V is None else numbers(head.bias_V)
    return numbers(hidden) @ numbers(head.weight_VH).T + bias


def random_states(rng: np.random.Generator, hidden: int, dtype: torch.dtype) -> torch.Tensor:
    """Every fifth makes the student sure by 60 nats, see `random_head`."""
    states = rng.normal(size=(TOKENS, hidden)) * rng.choice([0.3, 1.0, 1.5], size=(TOKENS, 1))
    states[:, 0] = np.where(np.arange(TOKENS) % 5 == 0, cases.GAP / 10, 0.0)
    return torch.tensor(states).to(dtype)


def live_teacher(
    rng: np.random.Generator, width: int, dtype: torch.dtype
) -> tuple[LiveTarget, Full]:
    states, head = random_states(rng, 7, dtype), cases.random_head(rng, width, 7, dtype)
    head = replace(head, vocabulary=None)
    scores = logits_of(raw_scores(states, head), head.scale, head.soft_cap, None)
    return LiveTarget(states, head), Full(scores)


def padded(teacher: Any, columns: int) -> Any:
    """Tokens that do not exist are impossible to a teacher too."""
    if not isinstance(teacher, Full):
        return teacher
    return Full(np.pad(teacher.scores_NV, ((0, 0), (0, columns)), constant_values=-np.inf))


def errors_of_a_call(
    rng: np.random.Generator, form: str, dtype: torch.dtype
) -> dict[str, float | Array]:
    """Of the loss, the parts and the gradients.

    A value's error is relative to the sum of its terms' sizes; a gradient's to its norm or, where
    that is smaller, to the norm that it had if nothing in it cancelled.
    """
    kind = np.float64 if dtype == torch.float64 else np.float32
    width, size = int(rng.integers(10, 30)), int(rng.integers(4, 9))
    head = cases.random_head(rng, width, size, dtype)
    hidden = random_states(rng, size, dtype).requires_grad_()
    weight = head.weight_VH.requires_grad_()
    vocabulary = head.vocabulary or width

    def to_logits(raw: Array) -> Array:
        return logits_of(raw, head.scale, head.soft_cap, head.vocabulary)

    raw_NV = raw_scores(hidden, head)
    target: Target | None
    if form == "live":
        target, teacher = live_teacher(rng, vocabulary, dtype)
    else:
        scores_NV = cases.teacher_scores(rng, to_logits(raw_NV)[:, :vocabulary])
        teacher = cases.teacher_of(rng, form, scores_NV, kind)
        target = cases.target_of(teacher, torch.float64 if kind == np.float64 else torch.float32)
    # Half precision cannot tell on which side of p = q it is.
    kinks = dtype != torch.bfloat16
    losses, parts = cases.random_losses(rng, form, TOKENS, kind, kinks=kinks)
    labels_N, scale = rng.integers(vocabulary, size=TOKENS), float(rng.choice([1.0, 0.01]))
    teacher = padded(teacher, width - vocabulary)
    expected = answer(raw_NV, labels_N, teacher, losses, scale, to_logits)
    loss, sums_P = fused_loss(
        hidden,
        head if head.bias_V is None else replace(head, bias_V=head.bias_V.requires_grad_()),
        torch.tensor(labels_N),
        target,
        parts,
        scale,
        chunk=int(rng.choice([1, 5, 8, 100])),
    )
    loss.backward()
    errors = {
        "loss": abs(loss.item() - expected.loss) / (expected.loss_size or 1.0),
        "sums": abs(numbers(sums_P) - expected.sums_P) / expected.size_P,
    }
    grad_NV, sizes_N1 = expected.grad_NV, expected.grad_size_N[:, None]
    row = np.linalg.norm(numbers(weight)) / np.sqrt(width)
    errors["hidden"] = off(hidden.grad, grad_NV @ numbers(weight), sizes_N1 * row)
    errors["weight"] = off(weight.grad, grad_NV.T @ numbers(hidden), sizes_N1 * numbers(hidden))
    if head.bias_V is not None:
        errors["bias"] = off(head.bias_V.grad, grad_NV.sum(0), sizes_N1)
    return errors


def off(gradient: torch.Tensor | None, expected: Array, size: Array) -> float:
    assert gradient is not None
    norm = max(np.linalg.norm(expected), np.linalg.norm(size))
    return float(np.linalg.norm(numbers(gradient) - expected) / (norm or 1.0))


@pytest.mark.parametrize(("dtype", "tolerance"), EXACT)
@pytest.mark.parametrize("form", [*cases.FORMS, "live"])
def test_loss_and_gradients_are_those_of_whole_logits(
    form: str, dtype: torch.dtype, tolerance: float
) -> None:
    rng = np.random.default_rng(len(form))
    for _ in range(CALLS):
        errors = errors_of_a_call(rng, form, dtype)
        assert {name for name, error in errors.items() if np.max(error) > tolerance} == set()


@pytest.mark.parametrize("kind", sorted(set(cases.DIVERGENCES) - {"forward_kl"}))
def test_draws_do_not_stand_in_for_what_is_not_linear_in_p(kind: str) -> None:
    head, hidden, labels = Head(torch.ones(4, 2)), torch.ones(3, 2), torch.zeros(3).long()
    target = SampledTarget(labels[:, None], torch.ones(3, 1))
    with pytest.raises(ValueError, match="draws"):
        fused_loss(hidden, head, labels, target, [Part("forward_kl"), Part(kind)])


def test_a_teacher_with_more_tokens_than_the_student_is_refused() -> None:
    head, hidden, labels = Head(torch.ones(9, 2), vocabulary=4), torch.ones(3, 2), torch.zeros(3)
    live = LiveTarget(hidden, Head(torch.ones(5, 2)))
    for target in (DenseTarget(torch.zeros(3, 5)), live):
        with pytest.raises(ValueError, match="5 tokens"):
            fused_loss(hidden, head, labels.long(), target, [Part("jsd")])
    fused_loss(hidden, head, labels.long(), live.cut_to(4), [Part("jsd")])
