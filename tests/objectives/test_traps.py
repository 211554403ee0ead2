"""Mistakes that distillation losses are known for, one test each, named after the mistake."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mwalimu.data.collate import collate
from mwalimu.data.tokenize import Encoded
from mwalimu.objectives.divergence import DIVERGENCES
from mwalimu.objectives.fused import fused_loss
from mwalimu.objectives.head import Head
from mwalimu.objectives.parts import Part
from mwalimu.objectives.targets import DenseTarget, SparseTarget

V = 12


def logits_loss(
    logits_NV: torch.Tensor, target: Any, *parts: Part, labels: torch.Tensor | None = None
) -> torch.Tensor:
    """Of logits as they are: a head that is the identity."""
    head = Head(torch.eye(logits_NV.shape[1], dtype=logits_NV.dtype))
    none = torch.zeros(len(logits_NV), dtype=torch.long)
    return fused_loss(logits_NV, head, none if labels is None else labels, target, parts)[0]


def gradient_of(logits_NV: torch.Tensor, target: Any, *parts: Part) -> torch.Tensor:
    leaf_NV = logits_NV.detach().clone().requires_grad_()
    logits_loss(leaf_NV, target, *parts).backward()
    assert leaf_NV.grad is not None
    return leaf_NV.grad


def random_logits(rows: int = 5, seed: int = 0, width: int = V) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(rows, width, generator=generator, dtype=torch.float64)


def best(logp_NV: torch.Tensor, k: int) -> SparseTarget:
    top = logp_NV.topk(k)
    rest_NV = logp_NV.scatter(1, top.indices, -math.inf)
    return SparseTarget(top.indices, top.values, rest_NV.logsumexp(1))


def test_global_token_normalisation_a_short_micro_batch_weighs_no_more() -> None:
    """The mean over all tokens of a step, and not the mean of the micro-batches' means."""
    logits_NV, labels = random_logits(10), torch.arange(10)
    whole_NV = logits_NV.clone().requires_grad_()
    torch.nn.functional.cross_entropy(whole_NV, labels).backward()
    parts_NV = logits_NV.clone().requires_grad_()
    head = Head(torch.eye(V, dtype=torch.float64))
    for rows in (slice(0, 1), slice(1, 10)):
        ce = [Part("cross_entropy")]
        fused_loss(parts_NV[rows], head, labels[rows], None, ce, 1 / 10)[0].backward()
    torch.testing.assert_close(parts_NV.grad, whole_NV.grad)


def test_causal_shift_a_token_is_predicted_from_the_one_before() -> None:
    """Logits that follow from the token at their place alone: a table of bigrams."""
    table_VV = random_logits(V)
    rows = [
        Encoded.of([3, 1, 4, 1, 5], [False, False, True, True, True]),
        Encoded.of([9, 2, 6], [False, True, True]),
    ]
    batch = collate(rows, pad_id=0, device=torch.device("cpu"))
    logits_NV = table_VV[batch.ids_BT].flatten(0, 1)[batch.positions_N]
    loss = logits_loss(logits_NV, None, Part("cross_entropy"), labels=batch.labels_N)
    table = table_VV.numpy()
    pairs = [(1, 4), (4, 1), (1, 5), (9, 2), (2, 6)]
    expected = sum(math.log(np.exp(table[a]).sum()) - table[a, b] for a, b in pairs)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_mask_before_reduction_what_is_masked_is_in_neither_sum_nor_count() -> None:
    """Prompt and padding change neither the loss nor its gradient, however many there are."""
    table_VV = random_logits(V)
    teacher_VV = random_logits(V, seed=1)
    short = Encoded.of([3, 1, 4], [False, False, True])
    long = Encoded.of([7, 7, 7, 7, 7, 7, 3, 1, 4], [False] * 8 + [True])
    found = []
    for rows in ([short], [long], [short, Encoded.of([5] * 9, [False] * 9)]):
        batch = collate(rows, pad_id=0, device=torch.device("cpu"))
        leaf_VV = table_VV.clone().requires_grad_()
        at_N = batch.ids_BT.flatten()[batch.positions_N]
        loss = logits_loss(leaf_VV[at_N], DenseTarget(teacher_VV[at_N]), Part("forward_kl"))
        (loss / batch.labels_N.numel()).backward()
        found.append((loss.detach(), leaf_VV.grad))
    assert all(torch.equal(a[0], found[0][0]) and torch.equal(a[1], found[0][1]) for a in found)


def test_temperature_divides_both_sides_in_the_loss() -> None:
    student_NV, teacher_NV = random_logits(), random_logits(seed=1)
    tau = 3.0
    got = logits_loss(
        student_NV, DenseTarget(teacher_NV), Part("forward_kl", temperature=tau, square=False)
    )
    expected = torch.nn.functional.kl_div(
        (student_NV / tau).log_softmax(1),
        (teacher_NV / tau).log_softmax(1),
        log_target=True,
        reduction="sum",
    )
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("kind", ["cross_entropy", *DIVERGENCES])
def test_temperature_squared_is_in_the_gradient_and_not_only_in_the_value(kind: str) -> None:
    student_NV, target = random_logits(), DenseTarget(random_logits(seed=1))
    plain, squared = (Part(kind, temperature=4.0, square=square) for square in (False, True))
    torch.testing.assert_close(
        logits_loss(student_NV, target, squared), 16 * logits_loss(student_NV, target, plain)
    )
    torch.testing.assert_close(
        gradient_of(student_NV, target, squared), 16 * gradient_of(student_NV, target, plain)
    )


def test_with_the_square_the_gradient_keeps_its_size_at_high_temperature() -> None:
    """Hinton et al. 2015, section 2.1: it tends to (z - v) / V of centred logits, whatever tau."""
    student_NV, teacher_NV = random_logits(), random_logits(seed=1)
    student_NV -= student_NV.mean(1, keepdim=True)
    teacher_NV -= teacher_NV.mean(1, keepdim=True)
    part = Part("forward_kl", temperature=1e4)
    got = gradient_of(student_NV, DenseTarget(teacher_NV), part)
    torch.testing.assert_close(got, (student_NV - teacher_NV) / V, rtol=1e-2, atol=1e-4)


def test_beta_near_0_is_the_forward_kl_and_near_1_the_reverse() -> None:
    """GKD's beta: JSD(beta) / beta -> KL(p || q) and JSD(beta) / (1 - beta) -> KL(q || p)."""
    student_NV, target = random_logits(), DenseTarget(random_logits(seed=1))

    def scaled(beta: float, by: float) -> torch.Tensor:
        return gradient_of(student_NV, target, Part("jsd", 1 / by, parameter=beta))

    forward = gradient_of(student_NV, target, Part("forward_kl"))
    reverse = gradient_of(student_NV, target, Part("reverse_kl"))
    torch.testing.assert_close(scaled(1e-7, 1e-7), forward, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(scaled(1 - 1e-7, 1e-7), reverse, rtol=1e-3, atol=1e-4)
    assert (forward - reverse).norm() > 0.5 * forward.norm()


def test_p_is_the_teacher() -> None:
    """Forward KL punishes a student that has nothing where the teacher has something."""
    teacher = DenseTarget(torch.tensor([[0.5, 0.5, 1e-9]], dtype=torch.float64).log())
    narrow = torch.tensor([[1.0, 1e-9, 1e-9]], dtype=torch.float64).log()
    wide = torch.tensor([[0.34, 0.33, 0.33]], dtype=torch.float64).log()
    forward, reverse = Part("forward_kl"), Part("reverse_kl")
    assert logits_loss(narrow, teacher, forward) > 5 > logits_loss(wide, teacher, forward)
    assert logits_loss(wide, teacher, reverse) > 5 > logits_loss(narrow, teacher, reverse)


def test_sums_over_chunks_are_in_float32_since_half_precision_loses_small_tokens() -> None:
    tokens, hidden, chunk = 4096, 8, 16
    generator = torch.Generator().manual_seed(0)
    states_NH = torch.randn(tokens, hidden, generator=generator).bfloat16()
    states_NH[:, 0] = 1  # what all tokens share is what a long sum is made of
    weight_VH = torch.randn(V, hidden, generator=generator).bfloat16().requires_grad_()
    labels = torch.zeros(tokens, dtype=torch.long)
    ce = [Part("cross_entropy")]
    fused_loss(states_NH, Head(weight_VH), labels, None, ce, 1 / tokens, chunk=chunk)[0].backward()

    def exact(rows: slice) -> torch.Tensor:
        leaf_VH = weight_VH.detach().double().requires_grad_()
        logits = states_NH[rows].double() @ leaf_VH.t()
        (
            torch.nn.functional.cross_entropy(logits, labels[rows], reduction="sum") / tokens
        ).backward()
        assert leaf_VH.grad is not None
        return leaf_VH.grad

    expected_VH = exact(slice(None))
    naive_VH = torch.zeros_like(weight_VH)
    for start in range(0, tokens, chunk):
        naive_VH += exact(slice(start, start + chunk)).bfloat16()
    assert weight_VH.grad is not None

    def off(gradient_VH: torch.Tensor) -> float:
        return float((gradient_VH.double() - expected_VH).norm() / expected_VH.norm())

    assert off(weight_VH.grad) < 3e-3 < 10 * off(weight_VH.grad) < off(naive_VH)


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_a_truncated_divergence_goes_negative_and_the_one_with_a_tail_never(kind: str) -> None:
    student_NV, teacher_NV = random_logits(300), random_logits(300, seed=1).log_softmax(1)
    target = best(teacher_NV, 3)
    # Every other student is surer of the best tokens than its teacher.
    surer_NV = teacher_NV.scatter_add(1, target.ids_NK, torch.full((300, 3), 0.5).double())
    student_NV[::2] = surer_NV[::2]
    for row in range(300):
        rows = slice(row, row + 1)
        assert logits_loss(student_NV[rows], target.rows(rows), Part(kind)) >= -1e-12
    logq_NK = student_NV.log_softmax(1).gather(1, target.ids_NK)
    truncated_N = (target.logp_NK.exp() * (target.logp_NK - logq_NK)).sum(1)
    assert kind != "forward_kl" or (truncated_N < -0.01).sum() > 140


@pytest.mark.parametrize("kind", ["reverse_kl", "skew_reverse_kl", "jsd", "forward_kl"])
def test_top_k_reverse_kl_keeps_the_mass_that_the_truncated_one_drains(kind: str) -> None:
    """Without a tail, a student that is right already is taught to have less on the best tokens."""
    teacher_NV = random_logits(20).log_softmax(1)
    target = best(teacher_NV, 3)
    inside_N = target.logp_NK.exp().sum(1)

    def mass(logits_NV: torch.Tensor) -> torch.Tensor:
        return logits_NV.softmax(1).gather(1, target.ids_NK).sum(1)

    with_tail, truncated = teacher_NV.clone(), teacher_NV.clone().requires_grad_()
    for _ in range(200):
        with_tail -= gradient_of(with_tail, target, Part(kind))
        logq_NK = truncated.log_softmax(1).gather(1, target.ids_NK)
        (logq_NK.exp() * (logq_NK - target.logp_NK)).sum().backward()
        with torch.no_grad():
            truncated -= truncated.grad
            truncated.grad = None
    torch.testing.assert_close(mass(with_tail), inside_N)
    assert (mass(truncated) < 0.6 * inside_N).all()


@pytest.mark.parametrize("head", ["soft_cap", "scale"])
def test_soft_cap_and_logit_scale_are_in_value_and_gradient(head: str) -> None:
    hidden = random_logits(6, width=4).requires_grad_()
    weight = random_logits(V, seed=1, width=4)
    labels, ce = torch.arange(6), [Part("cross_entropy")]
    raw_NV = hidden @ weight.t()
    logits_NV = {"soft_cap": 2 * (raw_NV / 2).tanh(), "scale": 0.25 * raw_NV}[head]
    expected = torch.nn.functional.cross_entropy(logits_NV, labels, reduction="sum")
    (gradient,) = torch.autograd.grad(expected, [hidden])
    made = replace(Head(weight), **{head: {"soft_cap": 2.0, "scale": 0.25}[head]})
    loss, _ = fused_loss(hidden, made, labels, None, ce)
    (got,) = torch.autograd.grad(loss, [hidden])
    torch.testing.assert_close([loss, got], [expected, gradient])
    plain, _ = fused_loss(hidden, Head(weight), labels, None, ce)
    (other,) = torch.autograd.grad(plain, [hidden])
    assert (other - gradient).norm() > 0.2 * gradient.norm()


@pytest.mark.parametrize("kind", ["cross_entropy", *DIVERGENCES])
def test_padded_columns_are_impossible_and_not_of_logit_0(kind: str) -> None:
    """Whatever stands in the padding rows of the weight: no mass, no gradient."""
    hidden, weight = random_logits(6, width=4), random_logits(V, seed=1, width=4)
    target, labels = DenseTarget(random_logits(6, seed=2)), torch.arange(6)
    bias = torch.zeros(V + 20, dtype=torch.float64)
    found = []
    for filling in (0.0, 100.0):
        rows = torch.full((20, 4), filling, dtype=torch.float64)
        padded = torch.cat([weight, rows]).requires_grad_()
        head = Head(padded, bias, vocabulary=V)
        loss, _ = fused_loss(hidden, head, labels, target, [Part(kind)])
        loss.backward()
        assert padded.grad is not None and not padded.grad[V:].any()
        found += [(loss.detach(), padded.grad[:V])]
    leaf = weight.clone().requires_grad_()
    loss, _ = fused_loss(hidden, Head(leaf), labels, target, [Part(kind)])
    loss.backward()
    for value, gradient in found:
        torch.testing.assert_close([value, gradient], [loss.detach(), leaf.grad])
