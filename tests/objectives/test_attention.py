"""Attention transfer against whole maps in float64 numpy, written apart; gradients; chunks."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mwalimu.objectives.attention import ATTENTION_KINDS, Attention, attention_loss

ROWS, TOKENS = 3, 5
POSITIONS_N = torch.tensor([1, 4, 5, 11, 12, 14])
"""Flat; ragged: 2, 1 and 3 queries a row."""


def attention(heads: int, groups: int, size: int, *, seed: int, dtype=torch.float64, **options):
    torch.manual_seed(seed)
    query_BTAD = 2 * torch.randn(ROWS, TOKENS, heads, size, dtype=torch.float64)
    key_BGTD = torch.randn(ROWS, groups, TOKENS, size, dtype=torch.float64)
    query_NAD = query_BTAD.flatten(0, 1)[POSITIONS_N]
    return Attention(query_NAD.to(dtype), key_BGTD.to(dtype), size**-0.5, **options)


def numpy_map(attention: Attention, positions) -> np.ndarray:
    """[N, T], averaged over heads."""
    query, key = attention.query_NAD.double().numpy(), attention.key_BGTD.double().numpy()
    heads, share = query.shape[1], query.shape[1] // key.shape[1]
    maps = np.zeros((len(positions), TOKENS))
    for n, position in enumerate(positions):
        row = position // TOKENS
        sight = numpy_sight(attention, n, position)
        for a in range(heads):
            score = key[row, a // share] @ query[n, a] * attention.scaling
            if attention.soft_cap:
                score = attention.soft_cap * np.tanh(score / attention.soft_cap)
            weight = np.where(sight, np.exp(score), 0)
            maps[n] += weight / weight.sum() / heads
    return maps


def numpy_sight(attention: Attention, n: int, position: int) -> np.ndarray:
    if attention.allowed_NT is not None:
        return attention.allowed_NT[n].numpy()
    place, keys = position % TOKENS, np.arange(TOKENS)
    back = TOKENS if attention.window is None else attention.window
    return (keys <= place) & (keys > place - back)


def numpy_sum(student: Attention, teacher: Attention, kind: str) -> float:
    positions = POSITIONS_N.tolist()
    p, q = numpy_map(teacher, positions), numpy_map(student, positions)
    p *= [numpy_sight(student, n, position) for n, position in enumerate(positions)]
    p /= p.sum(-1, keepdims=True)
    if kind == "mse":
        return float(((p - q) ** 2).sum())
    return sum(float(a * math.log(a / b)) for a, b in zip(p.flat, q.flat, strict=True) if a > 0)


SIGHT = torch.rand(len(POSITIONS_N), TOKENS, generator=torch.Generator().manual_seed(0)) < 0.5
SIGHT[range(len(POSITIONS_N)), POSITIONS_N % TOKENS] = True
SIGHT &= torch.arange(TOKENS) <= (POSITIONS_N % TOKENS)[:, None]

CASES = {
    "same": (attention(2, 2, 2, seed=0), attention(2, 2, 2, seed=1)),
    "other heads and sizes": (attention(3, 3, 2, seed=0), attention(8, 8, 5, seed=1)),
    "grouped": (attention(4, 2, 2, seed=0), attention(3, 1, 4, seed=1)),
    "student's window": (attention(2, 1, 2, seed=0, window=2), attention(2, 2, 2, seed=1)),
    "teacher's window": (attention(2, 1, 2, seed=0), attention(2, 2, 2, seed=1, window=3)),
    "soft caps": (attention(2, 2, 2, seed=0, soft_cap=1.5), attention(2, 2, 2, seed=1, soft_cap=3)),
    "masks": (
        attention(4, 2, 2, seed=0, allowed_NT=SIGHT),
        attention(2, 2, 2, seed=1, window=3),
    ),
}


@pytest.mark.parametrize("chunk_scores", [1, 30, 2**24])
@pytest.mark.parametrize("kind", ATTENTION_KINDS)
@pytest.mark.parametrize("case", CASES)
def test_sum(case: str, kind, chunk_scores: int) -> None:
    student, teacher = CASES[case]
    loss, sums_P = attention_loss(
        [student, student], [teacher, student], POSITIONS_N, kind, 0.5, chunk_scores=chunk_scores
    )
    expected = numpy_sum(student, teacher, kind)
    assert expected > 0.01
    assert sums_P.tolist() == pytest.approx([expected, 0], rel=1e-10, abs=1e-12)
    assert float(loss) == pytest.approx(expected / 2, rel=1e-10)


@pytest.mark.parametrize("kind", ATTENTION_KINDS)
@pytest.mark.parametrize("case", CASES)
def test_gradient(case: str, kind) -> None:
    student, teacher = CASES[case]

    def loss(query_NAD, key_BGTD):
        learner = replace(student, query_NAD=query_NAD, key_BGTD=key_BGTD)
        return attention_loss([learner], [teacher], POSITIONS_N, kind, 0.7, chunk_scores=24)[0]

    leaves = (student.query_NAD, student.key_BGTD)
    assert torch.autograd.gradcheck(loss, tuple(t.clone().requires_grad_() for t in leaves))


@pytest.mark.parametrize("kind", ATTENTION_KINDS)
def test_chunks_and_order_change_no_gradient(kind) -> None:
    student, teacher = CASES["grouped"]
    order = torch.randperm(len(POSITIONS_N), generator=torch.Generator().manual_seed(1))
    grads = []
    for positions_N, pick, chunk_scores in (
        (POSITIONS_N, slice(None), 2**24),
        (POSITIONS_N, slice(None), 1),
        (POSITIONS_N[order], order, 40),
    ):
        query_NAD = student.query_NAD.clone().requires_grad_()
        key_BGTD = student.key_BGTD.clone().requires_grad_()
        learner = replace(student, query_NAD=query_NAD[pick], key_BGTD=key_BGTD)
        master = replace(teacher, query_NAD=teacher.query_NAD[pick])
        attention_loss([learner], [master], positions_N, kind, 1, chunk_scores=chunk_scores)[
            0
        ].backward()
        grads.append((query_NAD.grad, key_BGTD.grad))
    for query, key in grads[1:]:
        torch.testing.assert_close(query, grads[0][0])
        torch.testing.assert_close(key, grads[0][1])


def test_underflow_costs_neither_value_nor_gradient() -> None:
    """In float32 the student's weight where the teacher looks is e^-300: far below its least."""
    key_BGTD = torch.eye(2)[None, None].requires_grad_()
    query_NAD = torch.tensor([[[0.0, 300.0]]], requires_grad=True)
    student = Attention(query_NAD, key_BGTD, 1.0)
    teacher = Attention(torch.tensor([[[300.0, 0.0]]]), torch.eye(2)[None, None], 1.0)
    loss, _ = attention_loss([student], [teacher], torch.tensor([1]), "kl", 1.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(300)
    assert query_NAD.grad.tolist() == [[[-1.0, 1.0]]]
    assert key_BGTD.grad.tolist() == [[[[0.0, -300.0], [0.0, 300.0]]]]


def test_half_precision_is_computed_in_float32() -> None:
    student = attention(4, 2, 8, seed=0, dtype=torch.bfloat16)
    teacher = attention(4, 4, 8, seed=1, dtype=torch.float16)
    query_NAD = student.query_NAD.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, sums_P = attention_loss([student], [teacher], POSITIONS_N, "kl", 1.0)
    detached = replace(student, query_NAD=query_NAD.detach())
    assert sums_P.dtype == torch.float32
    assert float(sums_P) == pytest.approx(numpy_sum(detached, teacher, "kl"), rel=1e-5)
    loss.backward()
    assert query_NAD.grad.dtype == torch.bfloat16


def test_no_queries_are_a_sum_of_zero() -> None:
    student = attention(2, 2, 2, seed=0)
    nobody = replace(student, query_NAD=student.query_NAD[:0].requires_grad_())
    loss, _ = attention_loss([nobody], [nobody], POSITIONS_N[:0], "kl", 1.0)
    loss.backward()
    assert float(loss.detach()) == 0


def test_only_the_student_gets_a_gradient() -> None:
    student, teacher = CASES["same"]
    leaves = [t.clone().requires_grad_() for t in (teacher.query_NAD, teacher.key_BGTD)]
    teacher = replace(teacher, query_NAD=leaves[0], key_BGTD=leaves[1])
    loss, _ = attention_loss([student], [teacher], POSITIONS_N, "kl", 1.0)
    assert not loss.requires_grad
