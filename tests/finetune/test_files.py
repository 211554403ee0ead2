"""Folders appear whole or not at all."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mwalimu.errors import DiskFull
from mwalimu.files import sha256_file
from mwalimu.finetune.files import publish_folder, save_tensors, tensor_errors


def test_a_folder_replaces_the_one_before(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    for text in ("old", "new"):
        with publish_folder(target) as temporary:
            (temporary / text).write_text(text)
            assert not (target / text).exists()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_folder_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "target"
    with publish_folder(target) as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(error), publish_folder(target) as temporary:
        (temporary / "a").write_text("new")
        raise error
    assert (target / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_leftovers_of_a_crash_are_no_obstacle(tmp_path: Path) -> None:
    for name in (".target.tmp", ".target.old"):
        (tmp_path / name / "inner").mkdir(parents=True)
    with publish_folder(tmp_path / "target") as temporary:
        assert not any(temporary.iterdir())
        (temporary / "a").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_full_disk_is_told_as_such_by_safetensors_too(tmp_path: Path) -> None:
    text = "Error while serializing: I/O error: No space left (os error 28)"
    with pytest.raises(DiskFull), publish_folder(tmp_path / "target"):
        raise SafetensorError(text)
    assert list(tmp_path.iterdir()) == []


def test_other_tensor_errors_pass() -> None:
    with pytest.raises(SafetensorError, match="bad header"), tensor_errors():
        raise SafetensorError("bad header")


def test_the_bytes_do_not_depend_on_the_order_of_names(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(3), "a": torch.rand(2, 2).t()}
    save_tensors(tmp_path / "1", tensors)
    save_tensors(tmp_path / "2", dict(sorted(tensors.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert torch.equal(load_file(tmp_path / "1")["a"], tensors["a"])


KINDS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn]
KINDS += [torch.float8_e5m2, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]


def test_safetensors_reads_every_kind_and_shape(tmp_path: Path) -> None:
    base = torch.randn(6, 4)
    tensors = {str(kind): (base * 10).to(kind) for kind in KINDS}
    tensors |= {"bool": base > 0, "empty": torch.empty(0, 3), "number": torch.tensor(2.5)}
    tensors |= {"an odd number of bytes": torch.arange(3, dtype=torch.uint8)}
    tensors |= {"transposed": base.t(), "strided": base[::2, 1:], "shared": base, "same": base}
    digest = save_tensors(tmp_path / "a.safetensors", tensors)
    assert digest == sha256_file(tmp_path / "a.safetensors")
    read = load_file(tmp_path / "a.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype and read[name].shape == tensor.shape, name
        exact = torch.equal(read[name].double(), tensor.double())
        assert exact, name
    data = (tmp_path / "a.safetensors").read_bytes()  # aligned, so that a map can be used as it is
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for name, tensor in tensors.items():
        assert (8 + length + header[name]["data_offsets"][0]) % tensor.itemsize == 0
