"""The cache's bytes: from the encodings' own arrays, against shards that were really packed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mwalimu.estimate.signal_side import Kept, bytes_a_token
from mwalimu.signals import (
    DenseEncoding,
    Encoding,
    HiddenEncoding,
    RealisedEncoding,
    Sampled,
    SampledEncoding,
    TopK,
    TopKEncoding,
)
from tests.estimate.jobs import SERVED, of_job, prompts, write_job

TEACHER = {**SERVED, "top_logprobs": 8}


def signals(folder: Path, teacher: dict[str, Any] = SERVED, **changes: Any) -> tuple[Kept, ...]:
    return of_job(folder, write_job(folder, teacher, prompts(20, length=400), **changes)).signals


def size(packed: dict[str, Any]) -> int:
    return sum(array.nbytes for array in packed.values())


@pytest.mark.parametrize("vocabulary", [1000, 151_936, 300_000])
def test_sampled_ends_are_those_of_a_packed_token(vocabulary: int) -> None:
    encoding = SampledEncoding(vocabulary, draws=12)
    sure = Sampled(np.array([7]), np.array([12], "u1"), np.array([1], "u1"))
    unsure = Sampled(np.arange(12), np.ones(12, "u1"), np.array([12], "u1"))
    span = bytes_a_token(encoding)
    assert span.low == size(encoding.pack([sure]))
    assert span.high == size(encoding.pack([unsure]))
    assert span.low < span.mid < span.high


def test_topk_ends_are_those_of_a_packed_token() -> None:
    encoding = TopKEncoding(5000, k=16)
    ends = []
    for count in (1, 16):
        logprobs = np.full(count, -np.log(count + 1))
        tail = np.array([-np.log(count + 1)])
        row = TopK(np.arange(count), logprobs, np.array([count], "u1"), tail)
        ends.append(size(encoding.pack([row])))
    span = bytes_a_token(encoding)
    assert [span.low, span.high] == ends


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        (DenseEncoding(4096), 8192),
        (HiddenEncoding((1, 3), 64), 256),
        (HiddenEncoding((1, 3), 64, "int8"), 136),
        (RealisedEncoding(), 4),
    ],
)
def test_what_is_of_one_size_has_no_range(encoding: Encoding, expected: int) -> None:
    span = bytes_a_token(encoding)
    assert span.low == span.mid == span.high == expected


def test_text_alone_keeps_nothing(tmp_path: Path) -> None:
    assert signals(tmp_path, TEACHER, finetune={"objective": "cross_entropy"}) == ()
    assert signals(tmp_path, TEACHER, finetune={"objective": "forward_kl", "teacher": "live"}) == ()


def test_an_open_objective_takes_the_best_tokens_where_they_are_told(tmp_path: Path) -> None:
    assert signals(tmp_path) == ()
    (kept,) = signals(tmp_path, TEACHER)
    assert kept.encoding == "topk" and kept.bytes is not None


def test_more_draws_more_bytes_by_the_answers_tokens(tmp_path: Path) -> None:
    def of(draws: int) -> float:
        asked = {"encoding": "sampled", "draws": draws}
        finetune = {"objective": "forward_kl"}
        (kept,) = signals(tmp_path, TEACHER, finetune=finetune, signals=asked)
        assert kept.bytes is not None
        return kept.bytes.high

    assert of(24) / of(12) == pytest.approx((24 * 3 + 1) / (12 * 3 + 1))
