"""The loss against fifty-digit decimals; batches against their rows, one by one."""

import math
from collections.abc import Sequence
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mwalimu.data.byte_spans import byte_lengths
from mwalimu.objectives.cross_tokenizer import (
    SURE,
    ChunkLikelihoods,
    RowChunks,
    bernoulli_kl,
    chunk_likelihood_loss,
    log1mexp,
)
from mwalimu.objectives.token_logprobs import token_logprobs
from tests.data.tokenizers_by_kind import tokenizer_of

LOGS = (-1e-6, -1e-5, -0.003, -0.2, -math.log(2), -0.7, -1.0, -5.0, -30.0, -80.0)


def decimal_kl(logp: float, logq: float, tau: float = 1.0) -> float:
    """p ln(p / q) + (1 - p) ln((1 - p) / (1 - q)), written out."""
    with localcontext() as context:
        context.prec = 50
        p, q = ((Decimal(log) / Decimal(tau)).exp() for log in (logp, logq))
        return float(p * (p / q).ln() + (1 - p) * ((1 - p) / (1 - q)).ln())


def decimal_gradient(logp: float, logq: float) -> float:
    with localcontext() as context:
        context.prec = 50
        p, q = Decimal(logp).exp(), Decimal(logq).exp()
        return float((q - p) / (1 - q))


def of_chunks(logp: Sequence[float]) -> ChunkLikelihoods:
    """Each chunk of one student token."""
    return ChunkLikelihoods.of_rows([RowChunks(np.arange(len(logp)), np.asarray(logp))])


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_each_divergence_near_certain_and_near_impossible(kind: torch.dtype) -> None:
    # What float32 cannot hold of two log-probabilities is no error of the formula.
    tolerance = {"rel": 2e-5, "abs": 3e-7} if kind == torch.float32 else {"rel": 1e-9, "abs": 1e-15}
    for first in LOGS:
        for second in LOGS:
            logp = torch.tensor(first, dtype=kind)
            logq = torch.tensor(second, dtype=kind, requires_grad=True)
            value = bernoulli_kl(logp, logq)
            value.backward()
            exact = (float(logp), float(logq.detach()))
            assert float(value.detach()) == pytest.approx(decimal_kl(*exact), **tolerance), exact
            assert logq.grad is not None
            slope = decimal_gradient(*exact)
            assert float(logq.grad) == pytest.approx(slope, rel=2e-5, abs=3e-7), exact


def test_log1mexp_to_the_last_digits() -> None:
    for x in (-1e-30, -1e-12, *LOGS, -700.0):
        with localcontext() as context:
            context.prec = 400
            expected = float((1 - Decimal(x).exp()).ln())
        assert float(log1mexp(torch.tensor(x, dtype=torch.float64))) == pytest.approx(
            expected, rel=1e-14
        )


@pytest.mark.parametrize("tau", [0.5, 1.0, 7.0, 100.0])
@pytest.mark.parametrize("rescale", [False, True])
def test_the_sum_is_over_chunks_of_summed_tokens(tau: float, rescale: bool) -> None:
    # Row 1: |ab|c|end| and |a|bc|end| : chunks abc, end. Row 2: no teacher. Row 3: |d|end|, cut.
    rows = [
        RowChunks.between([-0.5, -0.25, -0.01], [2, 1, 0], [1, 2, 0]),
        RowChunks.none(2),
        RowChunks.between([-1.5, -0.1], [4, 0], [4]),
    ]
    logq = [-0.3, -0.6, -0.2, -9.0, -9.0, -2.5]
    target = ChunkLikelihoods.of_rows(rows)
    value = chunk_likelihood_loss(
        torch.tensor(logq, dtype=torch.float64), target, temperature=tau, rescale=rescale
    )
    pairs = [(-0.75, -0.3 - 0.6), (-0.01, -0.2), (-1.5, -2.5)]
    expected = sum(decimal_kl(p, q, tau) for p, q in pairs) * (tau if rescale else 1.0)
    assert float(value) == pytest.approx(expected, rel=1e-6)  # the target is in float32


def test_a_large_temperature_compares_the_surprises() -> None:
    logp, logq = [-0.4, -3.0, -20.0], [-1.0, -2.0, -25.0]
    value = chunk_likelihood_loss(
        torch.tensor(logq, dtype=torch.float64), of_chunks(logp), temperature=1e6, rescale=True
    )
    limit = sum(-q + p - p * math.log(p / q) for p, q in zip(logp, logq, strict=True))
    assert float(value) == pytest.approx(limit, rel=1e-4)


def test_the_gradient_is_checked_by_differences() -> None:
    rows = [
        RowChunks.between([-0.5, -0.25, -0.01], [2, 1, 0], [1, 2, 0]),
        RowChunks.between([-2.0, -0.25, -0.3], [2, 3, 0], [1, 1, 1, 1, 1, 0]),
    ]
    target = ChunkLikelihoods.of_rows(rows)
    torch.manual_seed(0)
    logq_N = (-torch.rand(9, dtype=torch.float64) - 0.05).requires_grad_()
    for tau in (1.0, 20.0):
        assert torch.autograd.gradcheck(
            lambda x, tau=tau: chunk_likelihood_loss(x, target, temperature=tau, rescale=True),
            (logq_N,),
        )


@pytest.mark.parametrize("tau", [1.0, 100.0])
def test_certain_and_impossible_chunks_have_finite_values_and_gradients(tau: float) -> None:
    ends = [0.0, -1e-9, -1e-3, -60.0, -500.0, -1e5]
    logp = [p for p in [*ends, -math.inf] for _ in ends]
    logq_N = torch.tensor(ends * (len(ends) + 1), requires_grad=True)
    value = chunk_likelihood_loss(logq_N, of_chunks(logp), temperature=tau)
    value.backward()
    assert math.isfinite(float(value.detach()))
    assert logq_N.grad is not None and bool(torch.isfinite(logq_N.grad).all())


def test_a_student_that_is_too_sure_is_still_pulled_back() -> None:
    logq_N = torch.zeros(1, requires_grad=True)
    chunk_likelihood_loss(logq_N, of_chunks([-1.0]), temperature=10.0).backward()
    assert logq_N.grad is not None
    # (q - p) / (1 - q) / tau at log q = SURE / tau
    p, q = math.exp(-0.1), math.exp(SURE / 10)
    assert float(logq_N.grad) == pytest.approx((q - p) / -math.expm1(SURE / 10) / 10, rel=1e-3)


def test_equal_likelihoods_cost_nothing() -> None:
    logp = [-1e-7, -0.3, -40.0]
    logq_N = torch.tensor(logp, requires_grad=True)
    value = chunk_likelihood_loss(logq_N, of_chunks(logp))
    value.backward()
    assert float(value.detach()) == pytest.approx(0.0, abs=1e-7)
    assert logq_N.grad is not None and float(logq_N.grad.abs().max()) < 1e-6


def test_a_batch_without_chunks_is_zero_with_a_zero_gradient() -> None:
    for rows, tokens in (([RowChunks.none(3)], 3), ([], 0)):
        logq_N = torch.full((tokens,), -1.0, requires_grad=True)
        value = chunk_likelihood_loss(logq_N, ChunkLikelihoods.of_rows(rows))
        value.backward()
        assert float(value.detach()) == 0.0
        assert logq_N.grad is not None and not logq_N.grad.any()


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.booleans()), max_size=6))
@settings(max_examples=100, deadline=None)
def test_a_batch_is_the_sum_of_its_rows(shapes: list[tuple[int, int, bool]]) -> None:
    rng = np.random.default_rng(len(shapes))
    rows, logq = [], []
    for teacher, student, known in shapes:
        # Six bytes each, cut into that many tokens, and an end of turn.
        lengths = [[*np.bincount(np.arange(6) * n // 6), 0] for n in (teacher, student)]
        logp_T = -rng.exponential(size=teacher + 1)
        rows.append(RowChunks.between(logp_T, *lengths) if known else RowChunks.none(student + 1))
        logq.append(torch.from_numpy(-rng.exponential(size=student + 1)))
    whole = chunk_likelihood_loss(
        torch.cat([torch.zeros(0, dtype=torch.float64), *logq]), ChunkLikelihoods.of_rows(rows)
    )
    parts = [
        chunk_likelihood_loss(logq_S, ChunkLikelihoods.of_rows([row]))
        for logq_S, row in zip(logq, rows, strict=True)
    ]
    assert float(whole) == pytest.approx(sum(float(part) for part in parts), rel=1e-9)


def test_descent_finds_the_teachers_likelihoods_across_real_tokenizers() -> None:
    text = "the cat 🙂 sat in 東京."
    lengths = []
    for kind in ("byte level", "llama"):  # the teacher's, the student's
        tokenizer = tokenizer_of(kind)
        ids = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
        found = byte_lengths(tokenizer, ids, text)
        assert found is not None
        lengths.append(found)
    logp_T = -np.random.default_rng(0).exponential(0.7, size=len(lengths[0]))
    row = RowChunks.between(logp_T, *lengths)
    assert 4 < len(row.logp_M) < len(lengths[1])
    target = ChunkLikelihoods.of_rows([row])
    logits_NV = torch.zeros(len(lengths[1]), 7, requires_grad=True)
    labels_N = torch.arange(len(lengths[1])) % 7
    optimiser = torch.optim.Adam([logits_NV], lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        logq_N = token_logprobs(logits_NV, None, labels_N)
        chunk_likelihood_loss(logq_N, target, temperature=5.0, rescale=True).backward()
        optimiser.step()
    learned = token_logprobs(logits_NV, None, labels_N).detach().double().numpy()
    found_M = np.exp(np.bincount(row.chunk_S, weights=learned))
    np.testing.assert_allclose(found_M, np.exp(row.logp_M), atol=0.02)
