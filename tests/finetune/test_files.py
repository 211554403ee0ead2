"""Folders appear whole or not at all."""

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mwalimu.errors import DiskFull
from mwalimu.finetune import files
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


def test_a_full_disk_is_told_as_such_by_safetensors_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left (os error 28)")

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(DiskFull), publish_folder(tmp_path / "target") as temporary:
        save_tensors(temporary / "a.safetensors", {"a": torch.zeros(2)})
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
