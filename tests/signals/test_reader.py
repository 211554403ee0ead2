"""Any order, split or packing of rows gives each row its own signals; other rows are refused."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwalimu.errors import RunError, SignalMismatch
from mwalimu.signals import Request, SignalReader, SignalWriter
from mwalimu.signals.signal import (
    Batch,
    DenseBatch,
    HiddenBatch,
    RealisedBatch,
    SampledBatch,
    TopKBatch,
)
from tests.signals import reference
from tests.signals.cases import ENCODINGS, IDENTITY, key_of, length_of, rows_for, write

LENGTHS = (3, 0, 7, 1, 12, 5, 2, 9, 4, 4, 1)
Cache = tuple[SignalReader, dict[bytes, tuple[int, list[Any]]]]


@pytest.fixture(scope="module")
def caches() -> Iterator[dict[str, Cache]]:
    """By encoding: a reader of 11 rows in 3 shards, and what the reference reads there."""
    with tempfile.TemporaryDirectory() as root:
        found = {}
        for name, encoding in ENCODINGS.items():
            folder = Path(root) / name
            write(folder, encoding, rows_for(encoding, LENGTHS))
            found[name] = (SignalReader.open(folder, IDENTITY), reference.rows(folder))
        yield found


def check_tokens(batch: Batch, tokens: list[Any]) -> None:
    """The batch's tokens are those, in that order."""
    match batch:
        case SampledBatch(ids_NK, weight_NK):
            assert len(ids_NK) == len(tokens)
            for ids, weights, expected in zip(ids_NK, weight_NK, tokens, strict=True):
                pairs = zip(ids.tolist(), weights.tolist(), strict=True)
                assert {i: w for i, w in pairs if w} == pytest.approx(expected, rel=1e-6)
        case TopKBatch(ids_NK, logp_NK, tail_N):
            for ids, logp, tail, (best, rest) in zip(ids_NK, logp_NK, tail_N, tokens, strict=True):
                pairs = zip(ids.tolist(), logp.tolist(), strict=True)
                known = {i: v for i, v in pairs if v > -math.inf}
                assert known == pytest.approx(best, abs=1e-5)
                assert tail == pytest.approx(rest, abs=1e-5)
        case DenseBatch(logp_NV):
            assert logp_NV.tolist() == tokens
        case HiddenBatch(states_NLH):
            expected = np.array(tokens, np.float32).reshape(states_NLH.shape)
            np.testing.assert_allclose(states_NLH, expected, rtol=1e-6)
        case RealisedBatch(logp_N, bytes_N, _):
            assert bytes_N.tolist() == [covered for _, covered in tokens]
            np.testing.assert_allclose(logp_N, [value for value, _ in tokens], rtol=1e-6)


PICKS = st.lists(st.tuples(st.integers(0, len(LENGTHS) - 1), st.floats(0, 1)), max_size=20)


@pytest.mark.parametrize("name", ENCODINGS)
@settings(max_examples=40, deadline=None)
@given(picks=PICKS, cuts=st.sets(st.integers(0, 20)))
def test_any_order_split_and_truncation_gives_each_row_its_own(
    caches: dict[str, Cache], name: str, picks: list[tuple[int, float]], cuts: set[int]
) -> None:
    reader, expected = caches[name]
    bounds = [0, *sorted(cut for cut in cuts if cut < len(picks)), len(picks)]
    for start, stop in pairwise(bounds):
        requests, tokens, sizes = [], [], []
        for row, share in picks[start:stop]:
            kept = round(share * LENGTHS[row])
            requests.append(Request(key_of(row), 1000 + row, kept))
            tokens += expected[key_of(row)][1][:kept]
            sizes.append(kept)
        batch = reader.gather(requests)
        check_tokens(batch, tokens)
        if isinstance(batch, RealisedBatch):
            assert batch.row_sizes.tolist() == sizes


@pytest.mark.parametrize("name", ENCODINGS)
@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(len(LENGTHS))), per_shard=st.integers(1, 12))
def test_any_order_and_packing_when_written(
    caches: dict[str, Cache], name: str, order: list[int], per_shard: int
) -> None:
    rows = rows_for(ENCODINGS[name], LENGTHS)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), ENCODINGS[name], [rows[i] for i in order], per_shard)
        reader = SignalReader.open(Path(folder))
        everything = [Request(key, crc) for key, crc, _ in rows]
        for mine, other in zip(
            reader.gather(everything), caches[name][0].gather(everything), strict=True
        ):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_row_is_what_gather_gives(caches: dict[str, Cache], name: str) -> None:
    reader, _ = caches[name]
    for row, length in enumerate(LENGTHS):
        for kept in {0, length // 2, length}:
            signal = reader.row(key_of(row), 1000 + row, kept)
            assert length_of(signal) == kept
            again = reader.encoding.pack([signal])
            batch = reader.encoding.batch(
                {f.name: again[f.name].astype(f.out) for f in reader.encoding.fields()},
                np.array([kept]),
            )
            step = getattr(reader.encoding, "tail_step_nats", 1e-6)  # a second rounding may differ
            for mine, other in zip(
                batch, reader.gather([Request(key_of(row), None, kept)]), strict=True
            ):
                np.testing.assert_allclose(mine, other, atol=2 * step)


def test_keys_are_found_whatever_bytes_they_end_in(caches: dict[str, Cache]) -> None:
    reader, _ = caches["sampled"]
    assert len(reader) == len(LENGTHS)
    assert all(reader.has(key_of(row)) for row in range(len(LENGTHS)))
    assert not reader.has(key_of(len(LENGTHS))) and not reader.has(b"\xff" * 16)


def test_other_rows_and_other_tokens_are_refused(caches: dict[str, Cache]) -> None:
    reader, _ = caches["topk"]
    with pytest.raises(SignalMismatch, match="no signals of row ffff"):
        reader.gather([(b"\xff" * 16, None, None)])
    with pytest.raises(SignalMismatch, match=r"are of other tokens; .* capture again"):
        reader.gather([(key_of(0), 1000, 3), (key_of(2), 1000, 3)])
    with pytest.raises(SignalMismatch, match="of 7 tokens, not 8"):
        reader.row(key_of(2), 1002, 8)
    with pytest.raises(SignalMismatch, match="of 7 tokens, not -1"):
        reader.row(key_of(2), 1002, -1)


def test_no_rows_at_all(tmp_path: Path) -> None:
    writer = SignalWriter(tmp_path, ENCODINGS["sampled"], IDENTITY, "job", 4)
    writer.finish()
    reader = SignalReader.open(tmp_path)
    assert len(reader) == 0 and not reader.has(key_of(0))
    assert [len(array) for array in reader.gather([])] == [0, 0]
    with pytest.raises(SignalMismatch):
        reader.gather([Request(key_of(0))])


def test_an_unfinished_folder_is_refused(tmp_path: Path) -> None:
    encoding = ENCODINGS["sampled"]
    writer = SignalWriter(tmp_path, encoding, IDENTITY, "job", 4)
    writer.write_shard(0, rows_for(encoding, (2, 3)))
    with pytest.raises(RunError, match="no signals that are finished"):
        SignalReader.open(tmp_path)


def test_a_changed_byte_is_an_error_when_its_shard_is_first_read(tmp_path: Path) -> None:
    write(tmp_path, ENCODINGS["sampled"], rows_for(ENCODINGS["sampled"], LENGTHS))
    path = tmp_path / "shard-00001.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    reader = SignalReader.open(tmp_path)
    reader.row(key_of(0))  # of another shard
    with pytest.raises(RunError, match=r"shard-00001\.safetensors: is damaged: its SHA-256"):
        reader.row(key_of(5))


def test_a_missing_or_shorter_shard_is_an_error_at_once(tmp_path: Path) -> None:
    write(tmp_path, ENCODINGS["sampled"], rows_for(ENCODINGS["sampled"], LENGTHS))
    path = tmp_path / "shard-00001.safetensors"
    path.write_bytes((tmp_path / "shard-00002.safetensors").read_bytes())
    with pytest.raises(RunError, match="not those of the manifest"):
        SignalReader.open(tmp_path)
    path.unlink()
    with pytest.raises(RunError, match=r"shard-00001\.safetensors: cannot be read"):
        SignalReader.open(tmp_path)
