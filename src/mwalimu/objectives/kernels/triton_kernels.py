"""What is done to whole rows of scores, as Triton kernels. `triton_chunk` says what they are for.

A row of 152,000 scores fits no cache, so what counts is how often it crosses the memory bus: once
to be read for each sum, once to be read and once to be written for the gradient. No atomics: the
same numbers come out on every run. Sums are kept a lane apart, at most eighty numbers each for
152,000 scores, and lanes are joined at the end: float32 stays exact to a few last places.

Rows begin at 64-bit offsets: a chunk may have more than 2^31 scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import triton
import triton.language as tl

SUM_BLOCK = 4096
DIVERGENCE_BLOCK = 2048
GRADIENT_BLOCK = 2048
"""With 8 warps of 32 threads, 16 or 8 scores a thread: two to four 128-bit loads under way in each,
which keeps the bus busy with few programs a multiprocessor. What takes many steps a score, and so
many registers, has the smaller block."""

OPTIONS: dict[str, Any] = {"num_warps": 8, "enable_fp_fusion": False}
"""Without fusion, products are rounded as torch rounds them, so that a label has the same score
here and there. And Triton's versions differ in their default."""

NOTHING = tl.constexpr(0)
FORWARD_KL = tl.constexpr(1)
REVERSE_KL = tl.constexpr(2)
JSD = tl.constexpr(3)
SKEW_FORWARD_KL = tl.constexpr(4)
SKEW_REVERSE_KL = tl.constexpr(5)
TOTAL_VARIATION = tl.constexpr(6)
CODES = {
    "": NOTHING.value,
    "forward_kl": FORWARD_KL.value,
    "reverse_kl": REVERSE_KL.value,
    "jsd": JSD.value,
    "skew_forward_kl": SKEW_FORWARD_KL.value,
    "skew_reverse_kl": SKEW_REVERSE_KL.value,
    "total_variation": TOTAL_VARIATION.value,
}


def packed(kinds: Sequence[str]) -> int:
    """As one number, three bits each: old versions of Triton hand no tuple to a kernel."""
    return sum(CODES[kind] << (3 * index) for index, kind in enumerate(kinds))


# A term is one addend of the gradient: a multiple of the student's softmax and, if it is of a
# divergence, one of q * df/dq. Of each row it has these numbers, in this order.
INVERSE_TAU = tl.constexpr(0)
PEAK = tl.constexpr(1)
MASS = tl.constexpr(2)
SHARE = tl.constexpr(3)
FACTOR = tl.constexpr(4)
TEACHER_PEAK = tl.constexpr(5)
TEACHER_MASS = tl.constexpr(6)
PARAMETER = tl.constexpr(7)
FIELDS = tl.constexpr(8)

NO_MASS = tl.constexpr(-1e4)
LOG_FLOOR = tl.constexpr(-50.0)
"""As in `objectives.divergence`; a test compares them."""


@triton.jit  # type: ignore[untyped-decorator]
def _load(row_start: tl.tensor, columns: tl.tensor, width: tl.tensor) -> tl.tensor:
    """Minus infinity beyond the width."""
    scores = tl.load(row_start + columns, mask=columns < width, other=float("-inf"))
    return scores.to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def sum_exponentials(
    scores: tl.tensor,
    row_stride: tl.tensor,
    width: tl.tensor,
    inverse_taus: tl.tensor,
    peaks: tl.tensor,
    masses: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Of each row: its peak, and the sum of exp(score * inverse_tau - peak). One program a row.

    A row of nothing but minus infinity has the peak 0 and the sum 0.
    """
    row = tl.program_id(0).to(tl.int64)
    row_start = scores + row * row_stride
    inverse_tau = tl.load(inverse_taus + row)
    peak = tl.full((), float("-inf"), tl.float32)
    mass = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, width, BLOCK):
        block = _load(row_start, start + tl.arange(0, BLOCK), width) * inverse_tau
        higher = tl.maximum(peak, tl.max(block, 0))
        base = _finite(higher)
        mass = mass * tl.exp(peak - base) + tl.exp(block - base)
        peak = higher
    tl.store(peaks + row, _finite(peak))
    tl.store(masses + row, tl.sum(mass, 0))


@triton.jit  # type: ignore[untyped-decorator]
def _finite(peak: tl.tensor) -> tl.tensor:
    """Something to subtract: the difference of two minus infinities is NaN."""
    return tl.where(peak == float("-inf"), 0.0, peak)


@triton.jit  # type: ignore[untyped-decorator]
def _normaliser(peak_place: tl.tensor, mass_place: tl.tensor) -> tl.tensor:
    """(peak, log of the mass, 1 / mass) of a row's softmax."""
    mass = tl.load(mass_place)
    return tl.load(peak_place), tl.log(mass), tl.div_rn(1.0, mass)


@triton.jit  # type: ignore[untyped-decorator]
def _probability(
    scores: tl.tensor, peak: tl.tensor, log_mass: tl.tensor, inverse_mass: tl.tensor
) -> tl.tensor:
    """(log p, p) of scores in their softmax. A NaN stays one, so no maximum here."""
    apart = scores - peak
    log_p = apart - log_mass
    return tl.where(log_p < NO_MASS, NO_MASS, log_p), tl.exp(apart) * inverse_mass


@triton.jit  # type: ignore[untyped-decorator]
def _log_mixture(log_left: tl.tensor, left: tl.tensor, log_right: tl.tensor) -> tl.tensor:
    """log(left * exp(log_left) + (1 - left) * exp(log_right))"""
    log_left += tl.log(left)
    log_right += tl.log(1.0 - left)
    higher = tl.maximum(log_left, log_right)
    return higher + tl.log(1.0 + tl.exp(-tl.abs(log_left - log_right)))


@triton.jit  # type: ignore[untyped-decorator]
def _divergence(
    log_p: tl.tensor,
    p: tl.tensor,
    log_q: tl.tensor,
    q: tl.tensor,
    parameter: tl.tensor,
    KIND: tl.constexpr,
) -> tl.tensor:
    """(f, q * df/dq) of each token: the formulas of `objectives.divergence`, which explains them.

    They stand here again because a kernel cannot call torch.
    """
    if KIND == FORWARD_KL:
        value = p * (log_p - log_q)
        q_g = -p
    elif KIND == REVERSE_KL:
        value = q * (log_q - tl.where(log_p < LOG_FLOOR, LOG_FLOOR, log_p))
        q_g = value + q
    elif KIND == JSD:
        log_m = _log_mixture(log_p, parameter, log_q)
        # The factors stand in this order since LLVM, in Triton 3.9 for sm_90, crashes at others.
        q_g = q * (log_q - log_m) * (1.0 - parameter)
        value = q_g + p * (log_p - log_m) * parameter
    elif KIND == SKEW_FORWARD_KL:
        log_m = _log_mixture(log_p, parameter, log_q)
        value = p * (log_p - log_m)
        q_g = (parameter - 1.0) * tl.exp(log_p + log_q - log_m)
    elif KIND == SKEW_REVERSE_KL:
        log_m = _log_mixture(log_q, parameter, log_p)
        value = q * (log_q - log_m)
        q_g = value + q - parameter * tl.exp(2.0 * log_q - log_m)
    else:
        tl.static_assert(KIND == TOTAL_VARIATION)
        excess = q - p
        value = 0.5 * tl.abs(excess)
        sign = tl.where(excess > 0.0, 1.0, tl.where(excess < 0.0, -1.0, 0.0))
        q_g = 0.5 * q * sign
    return value, q_g


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def sum_divergence(
    logits: tl.tensor,
    logits_stride: tl.tensor,
    width: tl.tensor,
    teacher: tl.tensor,
    teacher_stride: tl.tensor,
    shared_width: tl.tensor,
    table: tl.tensor,
    rows: tl.tensor,
    values: tl.tensor,
    q_g_sums: tl.tensor,
    KIND: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Of each row: the sums of f and of q * df/dq. One program a row.

    `table` is one term, [FIELDS, rows]. From `shared_width` on the teacher gives nothing.
    """
    row = tl.program_id(0).to(tl.int64)
    logits_start = logits + row * logits_stride
    teacher_start = teacher + row * teacher_stride
    term = table + row
    inverse_tau = tl.load(term + INVERSE_TAU * rows)
    parameter = tl.load(term + PARAMETER * rows)
    q_peak, q_log_mass, q_inverse_mass = _normaliser(term + PEAK * rows, term + MASS * rows)
    p_peak, p_log_mass, p_inverse_mass = _normaliser(
        term + TEACHER_PEAK * rows, term + TEACHER_MASS * rows
    )
    value_sum = tl.zeros((BLOCK,), tl.float32)
    q_g_sum = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, width, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        # Columns beyond the width have neither p nor q, hence add nothing.
        student_scores = _load(logits_start, columns, width) * inverse_tau
        teacher_scores = _load(teacher_start, columns, shared_width) * inverse_tau
        log_q, q = _probability(student_scores, q_peak, q_log_mass, q_inverse_mass)
        log_p, p = _probability(teacher_scores, p_peak, p_log_mass, p_inverse_mass)
        value, q_g = _divergence(log_p, p, log_q, q, parameter, KIND)
        value_sum += value
        q_g_sum += q_g
    tl.store(values + row, tl.sum(value_sum, 0))
    tl.store(q_g_sums + row, tl.sum(q_g_sum, 0))


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def write_gradient(
    logits: tl.tensor,
    logits_stride: tl.tensor,
    width: tl.tensor,
    teacher: tl.tensor,
    teacher_stride: tl.tensor,
    shared_width: tl.tensor,
    table: tl.tensor,
    rows: tl.tensor,
    TERMS: tl.constexpr,
    KINDS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Each logit becomes the sum over terms of share * exp(score - peak) + factor * q * df/dq.

    Its score is logit * inverse_tau; `table` is [TERMS, FIELDS, rows]; KINDS are `packed`. One
    program a block of a row: nothing is summed here.
    """
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    raw = _load(logits + row * logits_stride, columns, width)
    gradient = tl.zeros((BLOCK,), tl.float32)
    for index in tl.static_range(TERMS):
        gradient += _addend(
            raw,
            teacher + row * teacher_stride,
            columns,
            shared_width,
            table + index * FIELDS * rows + row,
            rows,
            (KINDS >> (3 * index)) & 7,
        )
    tl.store(logits + row * logits_stride + columns, gradient, mask=columns < width)


@triton.jit  # type: ignore[untyped-decorator]
def _addend(
    raw: tl.tensor,
    teacher: tl.tensor,
    columns: tl.tensor,
    shared_width: tl.tensor,
    term: tl.tensor,
    rows: tl.tensor,
    KIND: tl.constexpr,
) -> tl.tensor:
    inverse_tau = tl.load(term + INVERSE_TAU * rows)
    student_scores = raw * inverse_tau
    peak = tl.load(term + PEAK * rows)
    addend = tl.load(term + SHARE * rows) * tl.exp(student_scores - peak)
    if KIND != NOTHING:
        q_peak, q_log_mass, q_inverse_mass = _normaliser(term + PEAK * rows, term + MASS * rows)
        p_peak, p_log_mass, p_inverse_mass = _normaliser(
            term + TEACHER_PEAK * rows, term + TEACHER_MASS * rows
        )
        teacher_scores = _load(teacher, columns, shared_width) * inverse_tau
        log_q, q = _probability(student_scores, q_peak, q_log_mass, q_inverse_mass)
        log_p, p = _probability(teacher_scores, p_peak, p_log_mass, p_inverse_mass)
        _, q_g = _divergence(log_p, p, log_q, q, tl.load(term + PARAMETER * rows), KIND)
        addend += tl.load(term + FACTOR * rows) * q_g
    return addend
