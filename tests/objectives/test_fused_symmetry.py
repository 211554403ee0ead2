"""The fused loss against itself: derivatives, chunks, splits, orders, types.

Shapes: N target tokens, V vocabulary, H hidden.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mwalimu.objectives.divergence import DIVERGENCES
from mwalimu.objectives.fused import fused_loss
from mwalimu.objectives.head import Head
from mwalimu.objectives.parts import Part
from mwalimu.objectives.targets import LiveTarget
from tests.objectives import cases

N, V, H = 6, 7, 3


def problem(
    form: str, dtype: torch.dtype = torch.float64, tokens: int = N
) -> tuple[torch.Tensor, Head, torch.Tensor, Any]:
    """States, a head with all that a head can have, labels and a teacher."""
    rng = np.random.default_rng(tokens)
    hidden = torch.tensor(rng.normal(size=(tokens, H)), dtype=dtype, requires_grad=True)
    weight = torch.tensor(rng.normal(size=(V + 2, H)), dtype=dtype, requires_grad=True)
    bias = torch.tensor(rng.normal(size=V + 2), dtype=dtype, requires_grad=True)
    head = Head(weight, bias, scale=1.3, soft_cap=4.0, vocabulary=V)
    labels = torch.tensor(rng.integers(V, size=tokens))
    scores_NV = rng.normal(size=(tokens, V))
    if form == "live":
        live = Head(torch.tensor(rng.normal(size=(V + 5, 4))), scale=0.7, soft_cap=3.0)
        states = torch.tensor(rng.normal(size=(tokens, 4)))
        return hidden, head, labels, LiveTarget(states, live).cut_to(V)
    teacher = cases.teacher_of(rng, form, scores_NV, np.float64)
    return hidden, head, labels, cases.target_of(teacher, torch.float64)


def loss_of(
    hidden: torch.Tensor,
    head: Head,
    labels: torch.Tensor,
    target: Any,
    *parts: Part,
    **options: Any,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The loss and its gradients with respect to states, weight and bias."""
    loss, _ = fused_loss(hidden, head, labels, target, parts, **options)
    return loss, list(torch.autograd.grad(loss, leaves(hidden, head)))


def leaves(hidden: torch.Tensor, head: Head) -> list[torch.Tensor]:
    assert head.bias_V is not None
    return [hidden, head.weight_VH, head.bias_V]


COMBINATIONS = [
    ("labels", "cross_entropy"),
    ("sampled", "forward_kl"),
    *((form, kind) for form in ("topk", "whole", "dense", "live") for kind in DIVERGENCES),
]


@pytest.mark.parametrize(("form", "kind"), COMBINATIONS)
def test_gradcheck(form: str, kind: str) -> None:
    hidden, head, labels, target = problem(form)
    each_N = torch.linspace(0.5, 2.0, N, dtype=torch.float64)
    parts = (Part("cross_entropy", 0.3), Part(kind, each_N, 2.0), Part(kind, 0.5, each_N))

    def loss(*leaves: torch.Tensor) -> torch.Tensor:
        head_now = replace(head, weight_VH=leaves[1], bias_V=leaves[2])
        return fused_loss(leaves[0], head_now, labels, target, parts, 0.7, chunk=4)[0]

    assert torch.autograd.gradcheck(loss, leaves(hidden, head), fast_mode=True)


def some_parts(form: str, tokens: int) -> list[Part]:
    kinds = {"labels": ["cross_entropy"], "sampled": ["forward_kl"]}
    each_N = torch.linspace(0.5, 2.0, tokens, dtype=torch.float64)
    return [
        Part(kind, weight, temperature)
        for kind in kinds.get(form, ["forward_kl", "jsd", "reverse_kl"])
        for weight, temperature in ((0.3, 2.0), (each_N, each_N))
    ]


def rows_of(parts: Sequence[Part], rows: Any) -> list[Part]:
    return [part.rows(rows) for part in parts]


@pytest.mark.parametrize("form", [*cases.FORMS, "live"])
def test_neither_chunks_nor_micro_batches_nor_the_order_of_tokens_change_anything(
    form: str,
) -> None:
    tokens = 11
    hidden, head, labels, target = problem(form, tokens=tokens)
    parts = some_parts(form, tokens)
    expected, gradients = loss_of(hidden, head, labels, target, *parts, scale=0.1)
    for chunk in (1, 3, 10, 11, 50):
        got, found = loss_of(hidden, head, labels, target, *parts, scale=0.1, chunk=chunk)
        torch.testing.assert_close([got, *found], [expected, *gradients])

    order = torch.randperm(tokens, generator=torch.Generator().manual_seed(0))
    back = order.argsort()
    shuffled = None if target is None else target.rows(order)
    got, found = loss_of(
        hidden.detach()[order].requires_grad_(),
        head,
        labels[order],
        shuffled,
        *rows_of(parts, order),
        scale=0.1,
    )
    torch.testing.assert_close([got, found[0][back], *found[1:]], [expected, *gradients])

    total = torch.zeros((), dtype=torch.float64)
    for rows in (slice(0, 1), slice(1, 8), slice(8, 8), slice(8, 11)):
        piece = None if target is None else target.rows(rows)
        loss, _ = fused_loss(
            hidden[rows], head, labels[rows], piece, rows_of(parts, rows), 0.1, chunk=2
        )
        loss.backward()
        total += loss.detach()
    torch.testing.assert_close(total, expected.detach())
    torch.testing.assert_close([leaf.grad for leaf in leaves(hidden, head)], gradients)


@pytest.mark.parametrize("form", cases.FORMS)
def test_a_token_of_no_weight_adds_nothing(form: str) -> None:
    hidden, head, labels, target = problem(form)
    kind = "cross_entropy" if form == "labels" else "forward_kl"
    weight_N = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    kept = weight_N.bool()
    loss, gradients = loss_of(hidden, head, labels, target, Part(kind, weight_N))
    some = None if target is None else target.rows(kept)
    expected, found = loss_of(
        hidden.detach()[kept].requires_grad_(), head, labels[kept], some, Part(kind)
    )
    torch.testing.assert_close([loss, *gradients[1:]], [expected, *found[1:]])
    torch.testing.assert_close(gradients[0][kept], found[0])
    assert not gradients[0][~kept].any()


def test_scale_multiplies_loss_and_gradient_once_and_the_sums_not_at_all() -> None:
    hidden, head, labels, target = problem("topk")
    parts = some_parts("topk", N)
    loss, gradients = loss_of(hidden, head, labels, target, *parts)
    scaled, small = loss_of(hidden, head, labels, target, *parts, scale=1 / 64)
    torch.testing.assert_close([64 * scaled, *(64 * g for g in small)], [loss, *gradients])
    _, sums_P = fused_loss(hidden, head, labels, target, parts)
    _, same_P = fused_loss(hidden, head, labels, target, parts, 1 / 64)
    assert torch.equal(sums_P, same_P) and not sums_P.requires_grad


def test_a_second_backward_pass_finds_the_same() -> None:
    hidden, head, labels, target = problem("topk")
    loss, _ = fused_loss(hidden, head, labels, target, some_parts("topk", N), chunk=4)
    first = torch.autograd.grad(loss, leaves(hidden, head), retain_graph=True)
    second = torch.autograd.grad(3 * loss, leaves(hidden, head), retain_graph=True)
    third = torch.autograd.grad(loss, leaves(hidden, head))
    torch.testing.assert_close(second, tuple(3 * g for g in first))
    torch.testing.assert_close(third, first)


def test_a_derivative_of_the_gradient_is_refused_and_not_wrong() -> None:
    hidden, head, labels, target = problem("topk")
    loss, _ = fused_loss(hidden, head, labels, target, some_parts("topk", N))
    (gradient,) = torch.autograd.grad(loss, [hidden], create_graph=True)
    with pytest.raises(RuntimeError, match="grad"):
        torch.autograd.grad(gradient.sum(), [hidden])


@pytest.mark.parametrize("form", [*cases.FORMS, "live"])
def test_without_a_gradient_the_values_are_the_same(form: str) -> None:
    hidden, head, labels, target = problem(form)
    parts = some_parts(form, N)
    expected = fused_loss(hidden, head, labels, target, parts, 0.2)
    with torch.no_grad():
        got = fused_loss(hidden, head, labels, target, parts, 0.2)
    assert torch.equal(expected[0], got[0]) and torch.equal(expected[1], got[1])
    assert not got[0].requires_grad


def test_without_a_head_the_states_are_logits() -> None:
    hidden, head, labels, target = problem("topk")
    parts = some_parts("topk", N)
    loss, (gradient, _, _) = loss_of(hidden, head, labels, target, *parts, chunk=4)
    u_NV = 1.3 * (hidden @ head.weight_VH[:V].t() + head.bias_V[:V])
    logits_NV = 4 * (u_NV / 4).tanh()
    got, _ = fused_loss(logits_NV, None, labels, target, parts, chunk=4)
    (through_logits,) = torch.autograd.grad(got, [hidden])
    torch.testing.assert_close([got, through_logits], [loss, gradient])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_batch_without_targets_is_nothing(dtype: torch.dtype) -> None:
    hidden, head, labels, target = problem("topk", dtype, tokens=N)
    none = slice(0, 0)
    loss, sums_P = fused_loss(
        hidden[none], head, labels[none], target.rows(none), [Part("jsd"), Part("forward_kl")]
    )
    loss.backward()
    assert loss.item() == 0 and sums_P.tolist() == [0, 0]
    assert not any(leaf.grad.any() for leaf in leaves(hidden, head))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("states", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("weights", [torch.bfloat16, torch.float32])
def test_types_may_differ_and_autocast_does_not_reach_inside(
    states: torch.dtype, weights: torch.dtype, autocast: bool
) -> None:
    hidden, head, labels, target = problem("topk", torch.float32)
    exact = loss_of(hidden, head, labels, target, *some_parts("topk", N))
    low = hidden.detach().to(states).requires_grad_()
    mixed = replace(
        head,
        weight_VH=head.weight_VH.detach().to(weights).requires_grad_(),
        bias_V=head.bias_V.detach().to(weights).requires_grad_(),
    )
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss, gradients = loss_of(low, mixed, labels, target, *some_parts("topk", N))
    assert loss.dtype == torch.float32
    assert [g.dtype for g in gradients] == [states, weights, weights]
    same = states == weights == torch.float32
    near = {"rtol": 1e-5, "atol": 1e-5} if same else {"rtol": 0.05, "atol": 0.05}
    torch.testing.assert_close(loss, exact[0], **near)
    torch.testing.assert_close([g.float() for g in gradients], exact[1], **near)


def test_a_divergence_without_a_teacher_is_refused() -> None:
    hidden, head, labels, _ = problem("labels")
    with pytest.raises(ValueError, match="teacher"):
        fused_loss(hidden, head, labels, None, [Part("jsd")])
