"""A folder that appears whole or not at all, and tensors in files that hold no code."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from mwalimu.run import disk_errors, fsync_folder

_OS_ERROR = re.compile(r"os error (\d+)")


@contextmanager
def publish_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `target` at the end.

    On any failure `target` is as it was. A crash between the two renames leaves no `target`:
    the stage is then not finished and runs again.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    retired = target.with_name(f".{target.name}.old")
    with disk_errors(target):
        try:
            _remove(temporary)
            temporary.mkdir(parents=True)
            with tensor_errors():
                yield temporary
            fsync_tree(temporary)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _remove(retired)
        if target.exists():
            os.replace(target, retired)
        os.replace(temporary, target)
        fsync_folder(target.parent)
        _remove(retired)


@contextmanager
def tensor_errors() -> Iterator[None]:
    """safetensors reports a full disk as its own error; this gives it back its errno."""
    try:
        yield
    except SafetensorError as error:
        found = _OS_ERROR.search(str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from error


def save_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Writes copies on the host; the order of names is the file's, so bytes are repeatable."""
    host = {name: tensors[name].detach().contiguous().cpu() for name in sorted(tensors)}
    save_file(host, path, metadata={"format": "pt"})


def fsync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            fsync_folder(path)
            continue
        with open(path, "rb") as handle:
            os.fsync(handle.fileno())
    fsync_folder(folder)


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
