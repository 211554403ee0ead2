"""Sampled and top-k signals there and back, within the error that docs/formats.md states."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwalimu.errors import TeacherError
from mwalimu.signals import Sampled, SampledEncoding, TopK, TopKEncoding
from tests.signals.cases import topk

VOCABULARIES = st.sampled_from([2, 255, 2**16, 2**18, 2**18 + 1, 151_936, 2**24])


@settings(max_examples=60)
@given(VOCABULARIES, st.integers(1, 64), st.integers(0, 20), st.integers(0, 2**32))
def test_sampled_is_exact(vocabulary: int, draws: int, tokens: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    draws_nD = rng.integers(0, vocabulary, (tokens, draws)) // rng.integers(1, 9, (tokens, 1))
    draws_nD[:, :1] = vocabulary - 1
    given_signal = Sampled.from_draws(draws_nD)
    encoding = SampledEncoding(vocabulary, draws)
    stored = encoding.pack([given_signal])
    found = encoding.unpack(stored)
    for name in ("ids", "counts", "sizes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(given_signal, name))
    ids_NK, weight_NK = encoding.batch(stored, np.array([tokens]))
    assert ids_NK.dtype == np.int64 and weight_NK.dtype == np.float32
    for token, ids in enumerate(draws_nD):
        shares = {i: np.float32((ids == i).sum()) / np.float32(draws) for i in set(ids.tolist())}
        pairs = zip(ids_NK[token].tolist(), weight_NK[token].tolist(), strict=True)
        assert {i: w for i, w in pairs if w} == shares


def test_sampled_takes_three_bytes_an_entry_and_four_above_2_18() -> None:
    signal = Sampled.from_draws(np.arange(24).reshape(2, 12))
    for vocabulary, size in ((2**18, 2 * 37), (2**18 + 1, 2 * 49)):
        stored = SampledEncoding(vocabulary, 12).pack([signal])
        assert sum(array.nbytes for array in stored.values()) == size


def test_sampled_refuses_what_it_cannot_hold() -> None:
    for draws in (0, 65):
        with pytest.raises(ValueError, match="draws"):
            SampledEncoding(300, draws)
    with pytest.raises(ValueError, match="vocabulary"):
        SampledEncoding(2**24 + 1, 12)
    encoding = SampledEncoding(300, 2)
    for draws in ([[300, 300]], [[-1, 0]], [[2**32, 2**32]]):
        wide = Sampled.from_draws(np.array(draws))
        ids = np.unique(np.array(draws))
        with pytest.raises(ValueError, match="vocabulary"):
            encoding.pack([Sampled(ids, wide.counts, wide.sizes)])
    for draws in ([[1, 2, 3]], [[1]]):
        with pytest.raises(ValueError, match="sum to 2"):
            encoding.pack([Sampled.from_draws(np.array(draws))])
    none = np.zeros(1, np.uint8)
    with pytest.raises(ValueError, match="sum to 2"):
        encoding.pack([Sampled(none[:0], none[:0], none)])
    with pytest.raises(ValueError, match="not Sampled"):
        encoding.pack([topk(np.random.default_rng(0), 2, 9, 3)])


@settings(max_examples=60)
@given(VOCABULARIES.filter(lambda v: v <= 2**18 + 1), st.integers(0, 2**32))
def test_topk_is_within_its_stated_error_and_sums_to_one(vocabulary: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    encoding = TopKEncoding(vocabulary, 12)
    signal = topk(rng, 6, min(vocabulary, 400), min(12, vocabulary - 1))
    stored = encoding.pack([signal])
    found = encoding.unpack(stored)
    np.testing.assert_array_equal(found.ids, signal.ids)
    np.testing.assert_array_equal(found.sizes, signal.sizes)
    greater = max(encoding.step_nats, encoding.tail_step_nats)
    rounding = 1e-5  # of float32, of numbers down to -32
    error = np.abs(found.logprobs.astype(float) - signal.logprobs)
    assert error.max(initial=0) <= (encoding.step_nats + greater) / 2 + rounding
    has_tail = np.isfinite(signal.tail)
    np.testing.assert_array_equal(np.isfinite(found.tail), has_tail)
    error = np.abs(found.tail[has_tail].astype(float) - signal.tail[has_tail])
    assert error.max(initial=0) <= (encoding.tail_step_nats + greater) / 2 + rounding
    ids_NK, logp_NK, tail_N = encoding.batch(stored, np.array([6]))
    assert (ids_NK.dtype, logp_NK.dtype, tail_N.dtype) == (np.int64, np.float32, np.float32)
    total_N = np.exp(logp_NK.astype(float)).sum(axis=1) + np.exp(tail_N.astype(float))
    np.testing.assert_allclose(total_N, 1, atol=1e-6)
    pads = np.arange(logp_NK.shape[1]) >= signal.sizes[:, None]
    assert np.isneginf(logp_NK[pads]).all() and not ids_NK[pads].any()


def test_topk_steps_at_the_vocabulary_that_the_docs_name() -> None:
    encoding = TopKEncoding(151_936, 32)
    assert (encoding.id_bits, encoding.step_nats, encoding.tail_step_nats) == (
        18,
        1 / 512,
        1 / 2048,
    )


def test_topk_raises_what_is_below_its_range() -> None:
    encoding = TopKEncoding(151_936, 4)
    signal = TopK(
        np.array([5, 6, 7], np.int32),
        np.array([0.0, -40.0, -np.inf], np.float32),
        np.array([3], np.uint8),
        np.array([-50.0], np.float32),
    )
    found = encoding.unpack(encoding.pack([signal]))
    np.testing.assert_allclose(found.logprobs, [0, -32, -32], atol=0.002)
    np.testing.assert_allclose(found.tail, [-32], atol=0.002)


def test_topk_refuses_what_it_cannot_hold() -> None:
    encoding = TopKEncoding(300, 2)

    def pack(ids: list[int], logp: list[float], tail: float) -> None:
        sizes = np.array([len(ids)], np.uint8)
        row = TopK(np.array(ids, np.int32), np.array(logp), sizes, np.array([tail]))
        encoding.pack([row])

    pack([1, 2], [-1.0, -2.0], -1.0)
    with pytest.raises(ValueError, match="more than 2"):
        pack([1, 2, 3], [-1.0, -2.0, -3.0], -1.0)
    with pytest.raises(ValueError, match="neither entries nor a tail"):
        pack([], [], -np.inf)
    with pytest.raises(ValueError, match="vocabulary"):
        pack([300], [-1.0], -1.0)
    with pytest.raises(ValueError, match="above 0"):
        pack([1], [0.5], -1.0)
    for logp, tail in ((np.nan, -1.0), (-1.0, np.nan)):
        with pytest.raises(TeacherError, match="not a number"):
            pack([1], [logp], tail)
    for k, top_p, range_nats in ((0, 1.0, 32.0), (256, 1.0, 32.0), (2, 0.0, 32.0), (2, 1.0, 1e9)):
        with pytest.raises(ValueError):
            TopKEncoding(300, k, top_p, range_nats)
