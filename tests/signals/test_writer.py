"""Resumed, killed, with the disk full: whole shards are kept, and the bytes are the same."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mwalimu.errors import DiskFull
from mwalimu.signals import SampledEncoding, SignalReader, SignalWriter
from mwalimu.signals.shard import Row
from tests.signals.cases import ENCODINGS, IDENTITY, key_of, rows_for, write

ENCODING = ENCODINGS["sampled"]
ROWS = rows_for(ENCODING, (3, 0, 7, 1, 12, 5, 2, 9, 4, 4, 1))
SHARDS = [ROWS[0:4], ROWS[4:8], ROWS[8:12]]
TIMED_KILLS = 500 if os.environ.get("MWALIMU_LONG") else 40


def writer(folder: Path, job: str = "job", per_shard: int = 4) -> SignalWriter:
    return SignalWriter(folder, ENCODING, IDENTITY, job, per_shard)


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def fill(target: SignalWriter, shards: list[list[Row]] = SHARDS) -> list[int]:
    """Writes what is not done; which those were."""
    written = []
    for index, rows in enumerate(shards):
        if not target.shard_done(index):
            target.write_shard(index, rows)
            written.append(index)
    target.finish()
    return written


def test_killed_at_every_step_and_at_random_moments(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.signals.lives", str(tmp_path), str(TIMED_KILLS)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    # 3 shards and a manifest, each opened, written in halves, synced, renamed, and synced again.
    assert counts["at_steps"] >= 4 * 6 and counts["after_a_time"] == TIMED_KILLS
    assert counts["files"] == 4


def test_whole_shards_of_the_job_are_kept(tmp_path: Path) -> None:
    first = writer(tmp_path)
    first.write_shard(0, SHARDS[0])
    first.write_shard(1, SHARDS[1])
    stamp = (tmp_path / "shard-00001.safetensors").stat().st_mtime_ns
    assert fill(writer(tmp_path)) == [2]
    assert (tmp_path / "shard-00001.safetensors").stat().st_mtime_ns == stamp
    expected = digest(tmp_path)
    assert fill(writer(tmp_path)) == [] and digest(tmp_path) == expected


@pytest.mark.parametrize("place", (5, 40, -1))
def test_a_damaged_shard_is_written_again(tmp_path: Path, place: int) -> None:
    fill(writer(tmp_path))
    expected = digest(tmp_path)
    path = tmp_path / "shard-00001.safetensors"
    raw = bytearray(path.read_bytes())
    raw[place] ^= 64
    path.write_bytes(raw)
    assert fill(writer(tmp_path)) == [1] and digest(tmp_path) == expected


def test_a_renamed_shard_is_not_taken_for_another(tmp_path: Path) -> None:
    fill(writer(tmp_path))
    expected = digest(tmp_path)
    os.replace(tmp_path / "shard-00002.safetensors", tmp_path / "shard-00001.safetensors")
    assert fill(writer(tmp_path)) == [1, 2] and digest(tmp_path) == expected


def test_the_manifest_goes_before_a_shard_is_written_again(tmp_path: Path) -> None:
    fill(writer(tmp_path))
    (tmp_path / "shard-00000.safetensors").unlink()
    again = writer(tmp_path)
    assert not again.shard_done(0) and (tmp_path / "manifest.json").exists()
    again.write_shard(0, SHARDS[0])
    assert not (tmp_path / "manifest.json").exists()


def test_what_another_job_left_is_removed(tmp_path: Path) -> None:
    fill(writer(tmp_path))
    (tmp_path / ".shard-00007.safetensors.tmp").write_bytes(b"cut off")
    (tmp_path / "notes.txt").write_text("mine")
    others = (
        SignalWriter(tmp_path, ENCODING, IDENTITY, "other job", 4),
        SignalWriter(tmp_path, ENCODING, replace(IDENTITY, temperature=2.0), "job", 4),
        SignalWriter(tmp_path, SampledEncoding(300, 11), IDENTITY, "job", 4),
        SignalWriter(tmp_path, ENCODING, IDENTITY, "job", 5),
    )
    assert len({other.fingerprint for other in others} | {writer(tmp_path).fingerprint}) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    for job in ("one", "two", "one"):
        target = writer(tmp_path, job)
        assert not target.shard_done(0)
        target.write_shard(0, SHARDS[0])


def test_free_facts_do_not_make_another_job(tmp_path: Path) -> None:
    fill(writer(tmp_path))
    other = replace(IDENTITY, source={"host": "elsewhere"})
    assert fill(SignalWriter(tmp_path, ENCODING, other, "job", 4)) == []


def test_a_key_stands_once_in_a_shard_and_in_a_folder(tmp_path: Path) -> None:
    twice = [[ROWS[0], ROWS[1], (ROWS[0][0], 5, ROWS[2][2])], [ROWS[1], ROWS[3]], [ROWS[1]]]
    fill(writer(tmp_path), twice)
    reader = SignalReader.open(tmp_path)
    assert [shard.rows for shard in reader.manifest.shards] == [2, 1, 0]
    first = reader.row(ROWS[0][0], ROWS[0][1])
    np.testing.assert_array_equal(first.ids, ROWS[0][2].ids)
    expected = digest(tmp_path)
    (tmp_path / "shard-00001.safetensors").unlink()
    assert fill(writer(tmp_path), twice) == [1] and digest(tmp_path) == expected


def test_a_full_disk_leaves_the_shards_before_it(tmp_path: Path) -> None:
    target = writer(tmp_path)
    target.write_shard(0, SHARDS[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(DiskFull, match="free some space"):
            target.write_shard(1, SHARDS[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["shard-00000.safetensors"]
    target.write_shard(1, SHARDS[1])
    assert fill(target) == [2]
    write(tmp_path / "other", ENCODING, ROWS)
    found = digest(tmp_path / "other")
    assert found == digest(tmp_path) and len(found) == 4


def test_misuse_is_refused(tmp_path: Path) -> None:
    target = writer(tmp_path)
    for call in (lambda: target.shard_done(1), lambda: target.write_shard(1, [])):
        with pytest.raises(ValueError, match="shard 1 before shard 0"):
            call()
    with pytest.raises(ValueError, match="5 rows for a shard of 4"):
        target.write_shard(0, ROWS[:5])
    with pytest.raises(ValueError, match="a key of 3 bytes"):
        target.write_shard(0, [(b"key", 0, ROWS[0][2])])
    with pytest.raises(ValueError, match="vocabulary"):
        SignalWriter(tmp_path, SampledEncoding(301, 12), IDENTITY, "job", 4)
    assert not list(tmp_path.iterdir())
    target.write_shard(0, [(key_of(1), 0, ROWS[0][2])])
