"""Files that a crash, a full disk or a second process leaves whole."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from mwalimu.errors import RunError, machine_error


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns what the disk or the machine refuses into a `MachineError`; other errors pass."""
    try:
        yield
    except OSError as error:
        if refused := machine_error(error, str(path)):
            raise refused from error
        raise


def fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """With its parents, durably: what is fsynced in a folder goes with the folder's own name."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        fsync_folder(one.parent)


def fsync_tree(folder: Path) -> None:
    """All that is in it, and itself."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            fsync_folder(path)
            continue
        with open(path, "rb") as handle:
            os.fsync(handle.fileno())
    fsync_folder(folder)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """One file under two names where the disk can do that, else a copy; a link is followed.

    For files that nobody writes to in their place.
    """
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)


@contextlib.contextmanager
def atomic_writer(path: Path, *, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """A binary file that appears under `path` whole, or not at all; `mode` before the umask."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.tmp")
    with disk_errors(path):
        try:
            with open(temporary, "wb", opener=partial(os.open, mode=mode)) as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    with atomic_writer(path) as handle:
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
        # Half a surrogate pair becomes its escape, which is JSON too.
        handle.write(text.encode("utf-8", "backslashreplace"))
        handle.write(b"\n")


def sha256_file(path: Path) -> str:
    with disk_errors(path), open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def exclusive(folder: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """One process at a time in `folder`; the lock ends with its holder, however that ends.

    Raises:
        RunError: another process is in it, and this one does not `wait`.
    """
    make_folder(folder)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        raise RunError(
            f"another mwalimu works in this {what} now",
            where=str(folder),
            fix="wait for it, or work in another folder",
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether a process is in `exclusive` of the folder now."""
    try:
        descriptor = os.open(folder / ".lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """`length` bytes from `offset`; fewer only where the file ends, for one read may bring less."""
    data = os.pread(descriptor, length, offset)
    while len(data) < length and (
        more := os.pread(descriptor, length - len(data), offset + len(data))
    ):
        data += more
    return data


def write_all(descriptor: int, data: bytes) -> None:
    """One write may take less."""
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def whole_lines(path: Path) -> Iterator[bytes]:
    """Of a growing file, those that are written to their end; none of one that is not there."""
    try:
        with open(path, "rb") as handle:
            yield from (line for line in handle if line.endswith(b"\n"))
    except FileNotFoundError:
        return
