"""A folder as a tar stream, made while it is sent: no file of it lies anywhere."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mwalimu.errors import RunError

PIECE = 1 << 20  # bytes
_BLOCK = tarfile.BLOCKSIZE


def packed(folder: Path, name: str) -> Iterator[bytes]:
    """Every plain file below `folder`, as `name/...`; equal folders give equal bytes.

    Raises RunError, before the first piece, if the folder is gone.
    """
    if not folder.is_dir():
        raise RunError("its files are gone", where=name, fix="register it again")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    return _pieces([(path, f"{name}/{path.relative_to(folder).as_posix()}") for path in files])


def _pieces(files: list[tuple[Path, str]]) -> Iterator[bytes]:
    for path, name in files:
        with open(path, "rb") as handle:
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            yield entry.tobuf(tarfile.PAX_FORMAT)
            yield from _content(handle, entry.size)
    yield bytes(2 * _BLOCK)


def _content(handle: IO[bytes], size: int) -> Iterator[bytes]:
    left = size
    while left:
        piece = handle.read(min(PIECE, left))
        if not piece:
            raise OSError("a file became shorter while it was sent")
        left -= len(piece)
        yield piece
    yield bytes(-size % _BLOCK)
