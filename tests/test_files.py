import errno
import json
import os
from pathlib import Path

import pytest

from mwalimu.errors import DiskFull
from mwalimu.files import atomic_writer, read_at, write_all, write_json


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_writer(path) as handle:
        handle.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_is_named_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="no space left"), atomic_writer(path) as handle:
        handle.write(b"new")
    assert path.read_bytes() == b"old"


def test_half_a_surrogate_pair_is_written_as_json_and_read_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"value": "x\ud83d", "\udc00": 1})
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"value": "x\ud83d", "\udc00": 1}


def test_a_read_that_brings_less_is_gone_on_with_to_the_end_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, pread, write = bytes(range(100)), os.pread, os.write
    monkeypatch.setattr(os, "pread", lambda file, length, at: pread(file, min(length, 7), at))
    monkeypatch.setattr(os, "write", lambda file, data: write(file, bytes(data)[:7]))
    descriptor = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT)
    try:
        write_all(descriptor, whole)
        assert read_at(descriptor, 50, 20) == whole[20:70]
        assert read_at(descriptor, 500, 20) == whole[20:] and read_at(descriptor, 5, 100) == b""
    finally:
        os.close(descriptor)
