"""What is done to whole rows of scores, as Triton kernels. `triton_chunk` says what they are for.

A row of 152,000 scores fits no cache, so what counts is how often it crosses the memory bus: once
to be read for each sum, once to be read and once to be written for the gradient. No atomics: the
same numbers come out on every run. Sums are kept a lane apart, some forty numbers each at 152,000
scores, and lanes are joined at the end: in float32 that is exact to a few units in the last place.

Offsets of rows are 64 bits wide: a chunk may have more than 2^31 scores.
"""

from __future__ import annotations

import triton
import triton.language as tl

# 8 warps x 32 threads x 16 or 8 scores: two to four 128-bit loads in flight a thread, which keeps
# the bus busy with few programs a multiprocessor. The sums of a divergence hold twice as many
# numbers a score, hence half the block.
WARPS = 8
SUM_BLOCK = 4096
DIVERGENCE_BLOCK = 2048
GRADIENT_BLOCK = 2048

# A term is one addend of the gradient: a multiple of the student's softmax and, where its kind is
# a divergence and not "", one of q * df/dq. Of each row it has these numbers, in this order.
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
def _probability(scores: tl.tensor, peak: tl.tensor, mass: tl.tensor) -> tl.tensor:
    """(log p, p) of scores in their softmax. A NaN stays one, so no maximum here."""
    apart = scores - peak
    log_p = apart - tl.log(mass)
    return tl.where(log_p < NO_MASS, NO_MASS, log_p), tl.exp(apart) * tl.div_rn(1.0, mass)


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
    if KIND == "forward_kl":
        value = p * (log_p - log_q)
        q_g = -p
    elif KIND == "reverse_kl":
        value = q * (log_q - tl.where(log_p < LOG_FLOOR, LOG_FLOOR, log_p))
        q_g = value + q
    elif KIND == "jsd":
        log_m = _log_mixture(log_p, parameter, log_q)
        q_g = (1.0 - parameter) * q * (log_q - log_m)
        value = parameter * p * (log_p - log_m) + q_g
    elif KIND == "skew_forward_kl":
        log_m = _log_mixture(log_p, parameter, log_q)
        value = p * (log_p - log_m)
        q_g = (parameter - 1.0) * tl.exp(log_p + log_q - log_m)
    elif KIND == "skew_reverse_kl":
        log_m = _log_mixture(log_q, parameter, log_p)
        value = q * (log_q - log_m)
        q_g = value + q - parameter * tl.exp(2.0 * log_q - log_m)
    else:
        tl.static_assert(KIND == "total_variation")
        excess = q - p
        value = 0.5 * tl.abs(excess)
        sign = tl.where(excess > 0.0, 1.0, tl.where(excess < 0.0, -1.0, 0.0))
        q_g = 0.5 * q * sign
    return value, q_g


@triton.jit  # type: ignore[untyped-decorator]
def _of_a_block(
    logits: tl.tensor,
    teacher: tl.tensor,
    columns: tl.tensor,
    shared_width: tl.tensor,
    term: tl.tensor,
    rows: tl.tensor,
    KIND: tl.constexpr,
) -> tl.tensor:
    """(f, q * df/dq) from the student's logits, divided already, and the teacher's as they lie."""
    scores = _load(teacher, columns, shared_width) * tl.load(term + INVERSE_TAU * rows)
    log_p, p = _probability(
        scores, tl.load(term + TEACHER_PEAK * rows), tl.load(term + TEACHER_MASS * rows)
    )
    log_q, q = _probability(logits, tl.load(term + PEAK * rows), tl.load(term + MASS * rows))
    return _divergence(log_p, p, log_q, q, tl.load(term + PARAMETER * rows), KIND)


@triton.jit  # type: ignore[untyped-decorator]
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
    inverse_tau = tl.load(table + INVERSE_TAU * rows + row)
    value_sum = tl.zeros((BLOCK,), tl.float32)
    q_g_sum = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, width, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        # Columns beyond the width have neither p nor q, hence add nothing.
        block = _load(logits_start, columns, width) * inverse_tau
        value, q_g = _of_a_block(
            block, teacher_start, columns, shared_width, table + row, rows, KIND
        )
        value_sum += value
        q_g_sum += q_g
    tl.store(values + row, tl.sum(value_sum, 0))
    tl.store(q_g_sums + row, tl.sum(q_g_sum, 0))


@triton.jit  # type: ignore[untyped-decorator]
def write_gradient(
    logits: tl.tensor,
    logits_stride: tl.tensor,
    width: tl.tensor,
    teacher: tl.tensor,
    teacher_stride: tl.tensor,
    shared_width: tl.tensor,
    table: tl.tensor,
    rows: tl.tensor,
    KINDS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """logits become the sum over terms of share * exp(logit * inverse_tau - peak) + factor * q * df/dq.

    `table` is [terms, FIELDS, rows]. One program a block of a row: nothing is summed here.
    """
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    raw = _load(logits + row * logits_stride, columns, width)
    gradient = tl.zeros((BLOCK,), tl.float32)
    for index in tl.static_range(len(KINDS)):
        term = table + index * FIELDS * rows + row
        block = raw * tl.load(term + INVERSE_TAU * rows)
        share = tl.load(term + SHARE * rows)
        gradient += share * tl.exp(block - tl.load(term + PEAK * rows))
        if KINDS[index] != "":
            _, q_g = _of_a_block(
                block,
                teacher + row * teacher_stride,
                columns,
                shared_width,
                term,
                rows,
                KINDS[index],
            )
            gradient += tl.load(term + FACTOR * rows) * q_g
    tl.store(logits + row * logits_stride + columns, gradient, mask=columns < width)
