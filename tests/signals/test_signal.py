from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mwalimu.signals import Realised, Sampled, TopK

DRAWS = arrays(
    np.int64, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 9)
)


@given(DRAWS)
def test_from_draws_counts_each_token_and_sorts_its_ids(draws_nD: np.ndarray) -> None:
    found = Sampled.from_draws(draws_nD)
    assert [a.dtype for a in (found.ids, found.counts, found.sizes)] == [
        np.int32,
        np.uint8,
        np.uint8,
    ]
    start = 0
    for draws, size in zip(draws_nD.tolist(), found.sizes.tolist(), strict=True):
        entries = slice(start, start + size)
        pairs = list(zip(found.ids[entries].tolist(), found.counts[entries].tolist(), strict=True))
        assert pairs == sorted(Counter(draws).items())
        start += size
    assert start == len(found.ids)


def test_from_draws_of_no_tokens() -> None:
    found = Sampled.from_draws(np.empty((0, 12), np.int64))
    assert len(found.ids) == len(found.counts) == len(found.sizes) == 0


def test_arrays_that_contradict_each_other_are_refused() -> None:
    one, two = np.ones(1, np.uint8), np.ones(2, np.uint8)
    for make in (
        lambda: Sampled(one, one, two),
        lambda: Sampled(one, two, one),
        lambda: TopK(two, two, one, one),
        lambda: TopK(one, one, one, two),
        lambda: Realised(one, two),
    ):
        with pytest.raises(ValueError, match="contradict"):
            make()
