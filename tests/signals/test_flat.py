"""Dense, hidden and realised signals there and back, within what docs/formats.md states."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mwalimu.errors import TeacherError
from mwalimu.signals import Dense, DenseEncoding, Hidden, HiddenEncoding, Realised, RealisedEncoding


@given(arrays(np.float32, (3, 7), elements=st.floats(-60_000, 0, width=32)))
def test_dense_is_within_float16(logp_nV: np.ndarray) -> None:
    encoding = DenseEncoding(7)
    found = encoding.pack([Dense(logp_nV)])["logprobs"].astype(np.float64)
    assert (np.abs(found - logp_nV) <= np.maximum(np.abs(logp_nV) * 2.0**-11, 2.0**-25)).all()


def test_dense_keeps_what_is_impossible_and_refuses_what_is_not_a_number() -> None:
    encoding = DenseEncoding(3)
    logp = np.array([[-np.inf, 0.0, -70_000.0]], np.float32)
    np.testing.assert_array_equal(encoding.pack([Dense(logp)])["logprobs"], [[-np.inf, 0, -np.inf]])
    with pytest.raises(TeacherError, match="not a number"):
        encoding.pack([Dense(np.full((1, 3), np.nan))])
    with pytest.raises(ValueError, match="shape"):
        encoding.pack([Dense(np.zeros((1, 4)))])
    with pytest.raises(ValueError, match="not Dense"):
        encoding.pack([Hidden(np.zeros((1, 1, 3)))])


STATES = arrays(np.float32, (4, 2, 5), elements=st.floats(-60_000, 60_000, width=32))


@settings(max_examples=60)
@given(STATES)
def test_hidden_as_float16(states: np.ndarray) -> None:
    stored = HiddenEncoding((1, 3), 5).pack([Hidden(states)])
    error = np.abs(stored["states"].astype(np.float64) - states)
    assert (error <= np.maximum(np.abs(states) * 2.0**-11, 2.0**-25)).all()


@settings(max_examples=60)
@given(STATES)
def test_hidden_as_int8(states: np.ndarray) -> None:
    stored = HiddenEncoding((1, 3), 5, "int8").pack([Hidden(states)])
    found = stored["states"].astype(np.float64) * stored["scale"][:, :, None]
    largest = np.abs(states).astype(np.float64).max(axis=2, keepdims=True)
    assert (np.abs(found - states) <= largest / 254 * (1 + 1e-5) + 1e-40).all()


def test_hidden_refuses_what_it_cannot_hold() -> None:
    encoding = HiddenEncoding((1,), 2)
    with pytest.raises(TeacherError, match="as int8"):
        encoding.pack([Hidden(np.array([[[70_000.0, 0]]]))])
    for dtype in ("float16", "int8"):
        with pytest.raises(TeacherError, match="not finite"):
            HiddenEncoding((1,), 2, dtype).pack([Hidden(np.array([[[np.inf, 0]]]))])
    with pytest.raises(ValueError, match="shape"):
        encoding.pack([Hidden(np.zeros((1, 2, 2)))])
    for layers, size, dtype in (((), 2, "int8"), ((1,), 0, "int8"), ((1,), 2, "int4")):
        with pytest.raises(ValueError):
            HiddenEncoding(layers, size, dtype)


def there_and_back(logp: np.ndarray) -> np.ndarray:
    encoding = RealisedEncoding()
    stored = encoding.pack([Realised(logp, np.zeros(len(logp), np.uint16))])
    found: np.ndarray = encoding.unpack(stored).logprobs
    return found


@given(arrays(np.float32, 20, elements=st.floats(-64, 0, width=32)))
def test_realised_is_within_its_stated_error(logp: np.ndarray) -> None:
    s = 8 / 65_535
    error = np.abs(there_and_back(logp) - logp.astype(np.float64))
    rounding = 4e-6  # of float32 at -64
    assert (error <= s * np.sqrt(-logp) + s * s / 4 + rounding).all() and error.max() < 0.001


def test_realised_tells_sure_tokens_apart_and_raises_the_impossible() -> None:
    logp = np.array([-np.inf, -100.0, 1e-6, -1e-4, -2e-4], np.float32)
    found = there_and_back(logp)
    np.testing.assert_allclose(found[:3], [-64, -64, 0])
    np.testing.assert_allclose(found[3:], logp[3:], rtol=0.02)


def test_realised_refuses_costs_and_nothings() -> None:
    with pytest.raises(ValueError, match="above 0"):
        there_and_back(np.array([2.0]))
    with pytest.raises(TeacherError, match="not a number"):
        there_and_back(np.array([np.nan]))
