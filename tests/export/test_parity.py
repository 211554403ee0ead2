"""Errors of logits, derived by hand."""

import math

import numpy as np
import pytest

from mwalimu.errors import StudentError
from mwalimu.export.parity import TOLERANCE, Parity, compare, require_parity


def logits(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_errors_are_in_standard_deviations_of_the_students_logits() -> None:
    """Both positions have variance 1 and 9: a spread of sqrt(5). Errors are 0, 0, 1 and 3."""
    own, other = logits([1, -1], [3, -3]), logits([1, -1], [4, -6])
    found = compare([(own, other)])
    assert (found.rows, found.positions, found.same_best) == (1, 2, 1.0)
    assert found.max_error == pytest.approx(3 / math.sqrt(5))
    assert found.rms_error == pytest.approx(math.sqrt(10 / 4) / math.sqrt(5))


def test_divergence_is_that_of_the_student_from_the_export() -> None:
    """p = (3/4, 1/4), q = (1/2, 1/2): KL = 3/4 ln(3/2) + 1/4 ln(1/2)."""
    found = compare([(logits([math.log(3), 0]), logits([5, 5]))])
    assert found.kl == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-6)


def test_padding_columns_at_the_end_are_not_compared() -> None:
    found = compare([(logits([1, -1, 7]), logits([1, -1])), (logits([1, -1]), logits([1, -1, 9]))])
    assert found.max_error == 0 and found.rows == 2


def test_another_best_token_is_counted() -> None:
    assert compare([(logits([1, 0], [1, 0]), logits([0, 1], [1, 0]))]).same_best == 0.5


def test_what_is_not_finite_is_infinitely_wrong() -> None:
    found = compare([(logits([1, -1]), logits([math.nan, -1]))])
    assert found.max_error == found.rms_error == math.inf
    with pytest.raises(StudentError, match="computes something else"):
        require_parity("x", "fp32", found)


@pytest.mark.parametrize(
    ("precision", "error", "allowed"),
    [
        ("fp32", TOLERANCE, True),
        ("fp32", 1.01 * TOLERANCE, False),
        ("fp32", math.nan, False),
        ("fp16", 3.0, True),
        ("int4", 3.0, True),
    ],
)
def test_only_full_precision_is_bound_to_the_tolerance(
    precision: str, error: float, allowed: bool
) -> None:
    parity = Parity(1, 1, error, error, 0.0, 1.0)
    if allowed:
        require_parity("x", precision, parity)
    else:
        with pytest.raises(StudentError, match="export x: computes something else"):
            require_parity("x", precision, parity)
