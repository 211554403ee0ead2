"""A folder that appears whole or not at all, and tensors in files that hold no code."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import torch
from safetensors import SafetensorError

from mwalimu.files import disk_errors, fsync_folder, fsync_tree

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
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


def save_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> str:
    """Writes a safetensors file and returns its SHA-256; the same tensors give the same bytes.

    The format: 8 bytes of header length, a JSON header, the tensors end to end. Written by hand, so
    that of a model on a GPU one tensor at a time is on the host, and nothing is read again.
    """
    header, end = {}, 0
    # Wide numbers first, so that each stands where its width divides the place.
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + tensor.nbytes
        kind, shape = _DTYPES[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with open(path, "wb") as handle:
        head: Iterator[bytes | memoryview] = iter([len(text).to_bytes(8, "little"), text])
        for data in chain(head, _contents(map(tensors.__getitem__, names))):
            digest.update(data)
            handle.write(data)
    return digest.hexdigest()


def _contents(tensors: Iterable[torch.Tensor]) -> Iterator[memoryview]:
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().data


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
