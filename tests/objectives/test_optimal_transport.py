"""The distance against its formula in numpy, its gradient by differences and by autograd."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mwalimu.objectives.head import Head
from mwalimu.objectives.optimal_transport import optimal_transport_sum, transport
from tests.objectives.heads import (
    HIDDEN,
    MAKES,
    largest_tensor,
    make_head,
    numpy_logits,
    numpy_softmax,
    parameters,
    three_tokens_a_chunk,
)

PAIRS, TEACHER_HIDDEN = 7, 4


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    three_tokens_a_chunk(monkeypatch)


def states(hidden: int, *, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(PAIRS, hidden, dtype=torch.float64, generator=generator)


def distance(p: np.ndarray, q: np.ndarray) -> float:
    """Sum over positions of |p_(i) - q_(i)|, the shorter filled up with zeros."""
    total = 0.0
    for left, right in zip(p, q, strict=True):
        width = max(len(left), len(right))
        ranked = [np.zeros(width), np.zeros(width)]
        for into, values in zip(ranked, (left, right), strict=True):
            into[: len(values)] = np.sort(values)[::-1]
        total += float(np.abs(ranked[0] - ranked[1]).sum())
    return total


@pytest.mark.parametrize("teacher", ["plain", "padded"])
@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("tau", [1.0, 2.5])
def test_values_and_gradients(make: str, teacher: str, tau: float) -> None:
    head, hidden = make_head(make), states(HIDDEN).requires_grad_()
    teacher_head = make_head(teacher, seed=5, hidden=TEACHER_HIDDEN)
    theirs = states(TEACHER_HIDDEN, seed=2)

    def loss(hidden_MH: torch.Tensor, *own: torch.Tensor) -> torch.Tensor:
        bias = own[1] if len(own) > 1 else None
        return optimal_transport_sum(
            hidden_MH,
            replace(head, weight_VH=own[0], bias_V=bias),
            theirs,
            teacher_head,
            temperature=tau,
            scale=0.5,
        )

    p = numpy_softmax(numpy_logits(theirs, teacher_head) / tau)
    q = numpy_softmax(numpy_logits(hidden, head) / tau)
    value = loss(hidden, *parameters(head))
    assert float(value.detach()) == pytest.approx(0.5 * distance(p, q), rel=1e-12)
    assert torch.autograd.gradcheck(loss, (hidden, *parameters(head)))
    assert teacher_head.weight_VH.grad is None


@pytest.mark.parametrize("widths", [(6, 11), (11, 6), (8, 8)])
def test_vocabularies_of_any_two_sizes(widths: tuple[int, int]) -> None:
    torch.manual_seed(3)
    ours = torch.randn(PAIRS, widths[0], dtype=torch.float64).requires_grad_()
    theirs = torch.randn(PAIRS, widths[1], dtype=torch.float64)
    p, q = numpy_softmax(theirs.numpy()), numpy_softmax(ours.detach().numpy())
    value_C, grad_CV = transport(ours.detach(), theirs)
    assert float(value_C.sum()) == pytest.approx(distance(p, q), rel=1e-12)
    # The same by autograd through the sort.
    size = max(widths)
    sides = [
        torch.cat([x.softmax(1), x.new_zeros(PAIRS, size - x.shape[1])], 1).sort(1).values
        for x in (ours, theirs)
    ]
    (sides[0] - sides[1]).abs().sum().backward()
    assert ours.grad is not None
    torch.testing.assert_close(grad_CV, ours.grad, rtol=1e-10, atol=1e-14)
    assert torch.autograd.gradcheck(lambda x: optimal_transport_sum(x, None, theirs, None), (ours,))


def test_a_permuted_teacher_is_no_distance_away() -> None:
    logits = torch.randn(PAIRS, 9, dtype=torch.float64)
    value_C, _ = transport(logits, logits[:, torch.randperm(9)])
    assert float(value_C.max()) < 1e-15


def test_by_hand() -> None:
    # q = (1/2, 1/4, 1/4), p = (1/8, 7/8): |7/8 - 1/2| + |1/8 - 1/4| + |0 - 1/4| = 3/4.
    q = torch.tensor([[0.5, 0.25, 0.25]]).log()
    p = torch.tensor([[0.125, 0.875]]).log()
    value_C, grad_CV = transport(q, p)
    assert float(value_C) == pytest.approx(0.75)
    # g = (-1, 1, 1), sum of q * g = 0.
    assert grad_CV[0].tolist() == pytest.approx([-0.5, 0.25, 0.25])


def test_chunks_do_not_change_it_and_half_precision_comes_back_so() -> None:
    head = make_head("bias", kind=torch.float32)
    theirs, teacher_head = states(TEACHER_HIDDEN).float(), Head(torch.randn(20, TEACHER_HIDDEN))
    hidden = states(HIDDEN).bfloat16().requires_grad_()
    whole = optimal_transport_sum(hidden, head, theirs, teacher_head)
    parts = [
        optimal_transport_sum(hidden[i : i + 1], head, theirs[i : i + 1], teacher_head)
        for i in range(PAIRS)
    ]
    assert whole.dtype == torch.float32
    assert float(whole.detach()) == pytest.approx(sum(float(p.detach()) for p in parts), rel=1e-5)
    (3.0 * whole).backward()
    assert hidden.grad is not None and hidden.grad.dtype == torch.bfloat16
    assert head.weight_VH.grad is not None and head.weight_VH.grad.dtype == torch.float32
    alone = hidden.detach().requires_grad_()
    (3.0 * optimal_transport_sum(alone[:1], head, theirs[:1], teacher_head)).backward()
    assert alone.grad is not None
    torch.testing.assert_close(hidden.grad[:1], alone.grad[:1])


def test_no_tensor_is_as_large_as_the_logits() -> None:
    pairs, vocabulary = 60, 50
    hidden = torch.randn(pairs, HIDDEN).requires_grad_()
    head = Head(torch.randn(vocabulary, HIDDEN).requires_grad_())
    teacher_head = Head(torch.randn(2 * vocabulary, TEACHER_HIDDEN))
    with largest_tensor() as largest:
        optimal_transport_sum(
            hidden, head, torch.randn(pairs, TEACHER_HIDDEN), teacher_head
        ).backward()
    assert largest.numbers <= 2 * vocabulary * TEACHER_HIDDEN


def test_frozen_no_gradient_and_no_pairs() -> None:
    head, theirs = make_head("bias"), states(TEACHER_HIDDEN)
    teacher_head = make_head("plain", hidden=TEACHER_HIDDEN)
    with torch.no_grad():
        value = optimal_transport_sum(states(HIDDEN), head, theirs, teacher_head)
    assert not value.requires_grad and float(value) > 0
    none = states(HIDDEN)[:0].requires_grad_()
    optimal_transport_sum(none, head, theirs[:0], teacher_head).backward()
    assert head.weight_VH.grad is not None and not head.weight_VH.grad.any()
    head.weight_VH.grad = None
    head.weight_VH.requires_grad_(False)
    hidden = states(HIDDEN).requires_grad_()
    optimal_transport_sum(hidden, head, theirs, teacher_head).backward()
    assert head.weight_VH.grad is None and hidden.grad is not None
