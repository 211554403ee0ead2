from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from mwalimu.errors import RunError
from mwalimu.signals import SignalReader
from mwalimu.signals.checks import inspect, verify
from tests.signals.cases import ENCODINGS, rows_for, write

LENGTHS = (3, 0, 7, 1, 12, 5)


@pytest.fixture(params=ENCODINGS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write(tmp_path, ENCODINGS[request.param], rows_for(ENCODINGS[request.param], LENGTHS))
    return tmp_path


def test_a_whole_folder(folder: Path) -> None:
    lines = verify(folder)
    assert lines[:2] == [
        "shard-00000.safetensors: whole, 4 rows, 11 tokens",
        "shard-00001.safetensors: whole, 2 rows, 17 tokens",
    ]
    assert lines[2].startswith("6 rows, 28 tokens, 2 shards, ")
    shown = "\n".join(inspect(folder))
    for expected in ("models/teacher", "local", "tok-1", "tmpl-1", "300", "made by: the tests"):
        assert expected in shown
    assert lines[2] in shown


def test_a_changed_byte_anywhere_is_found(folder: Path) -> None:
    path = folder / "shard-00001.safetensors"
    whole = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 60).tolist():
        raw = bytearray(whole)
        raw[place] ^= 1 << place % 8
        path.write_bytes(raw)
        with pytest.raises(RunError, match=r"shard-00001\.safetensors: is damaged"):
            verify(folder)


def test_a_shorter_or_longer_shard_is_found(folder: Path) -> None:
    path = folder / "shard-00000.safetensors"
    whole = path.read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], whole[:4], b"", whole + b"\0"):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"shard-00000\.safetensors: is damaged"):
            verify(folder)


def forge(folder: Path, **changed: object) -> None:
    """A shard with arrays that were changed, and a manifest that vouches for it."""
    path = folder / "shard-00000.safetensors"
    arrays = load(path.read_bytes())
    for name, value in changed.items():
        arrays[name] = np.asarray(value, arrays[name].dtype)
    path.write_bytes(save(arrays))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["shards"] = manifest["shards"][:1]
    shard = manifest["shards"][0]
    shard["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    shard["size"] = manifest["bytes"] = path.stat().st_size
    manifest["rows"], manifest["tokens"] = shard["rows"], shard["tokens"]
    manifest["bytes_per_token"] = round(shard["size"] / shard["tokens"], 3)
    (folder / "manifest.json").write_text(json.dumps(manifest))


FORGED = {
    "sampled": [
        {"sizes": [255] * 11},
        {"sizes": [0] * 11},
        {"entry_offsets": [0, 0, 0, 0, 0]},
        {"token_offsets": [0, 3, 2, 10, 11]},
        {"token_offsets": [1, 3, 3, 10, 11]},
        {"token_offsets": [0, 3, 3, 10, 2**60]},
        {"keys": np.zeros((4, 16))},
    ],
    "topk": [{"sizes": [9] * 11}, {"entries": np.full(5, 2**32 - 1)}],
    "dense": [{"logprobs": np.zeros((11, 299))}, {"crc": [1]}],
    "realised": [{"byte_lengths": [1]}, {"keys": np.zeros((4, 15))}],
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_shard_whose_hash_fits_is_one_error(name: str, tmp_path: Path) -> None:
    for number, changed in enumerate(FORGED[name]):
        folder = tmp_path / str(number)
        rows = rows_for(ENCODINGS[name], LENGTHS)
        write(folder, ENCODINGS[name], rows)
        forge(folder, **changed)
        with pytest.raises(RunError, match=r"damaged|twice") as caught:
            verify(folder)
        assert "\n" not in str(caught.value)
        if "keys" not in changed:
            with pytest.raises(RunError, match="damaged"):
                SignalReader.open(folder).gather([(key, crc, None) for key, crc, _ in rows[:4]])


def test_ids_outside_of_the_vocabulary_never_leave_the_reader(tmp_path: Path) -> None:
    rows = rows_for(ENCODINGS["sampled"], LENGTHS)
    write(tmp_path, ENCODINGS["sampled"], rows)
    low = load((tmp_path / "shard-00000.safetensors").read_bytes())["id_low"]
    forge(tmp_path, id_low=np.full(len(low), 300))
    with pytest.raises(RunError, match="outside of the vocabulary of 300; 'mwalimu signals verify"):
        SignalReader.open(tmp_path).row(*rows[0][:2])
