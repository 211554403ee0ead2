"""What runs in the processes that the tests kill or starve of disk. Forked from one that has
imported everything already, so that a life costs milliseconds."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from mwalimu.errors import DiskFull
from tests.finetune.jobs import train, weights

NOT_ALLOWED = 77
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_REMOUNT, MS_REC, MS_PRIVATE = 32, 16384, 1 << 18


def run_job(model: Path, folder: Path, job: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    train(model, folder, **job)


def run_until_interrupted(model: Path, folder: Path, job: dict[str, Any]) -> None:
    try:
        run_job(model, folder, job)
    except KeyboardInterrupt:
        sys.exit(130)


def run_on_a_full_disk(
    model: Path, folder: Path, kilobytes: int, silent: bool, expected: bytes
) -> None:
    """The disk is a tmpfs of this process alone. After step 6 another one fills it up to so many
    kilobytes; a silent disk does not say so. It grows after the failure."""
    if not _private_disk(folder, 64 << 10):
        sys.exit(NOT_ALLOWED)
    usage = shutil.disk_usage

    def fill(_label: str, step: int, *_: object) -> None:
        if step == 6:
            (folder / "others").write_bytes(bytes(usage(folder).free - kilobytes * 1024))

    if silent:
        shutil.disk_usage = lambda _: SimpleNamespace(free=1 << 40)  # type: ignore[assignment]
    try:
        run_job(model, folder / "job", {"on_progress": fill})
    except DiskFull:
        _mount(folder, MS_REMOUNT, "size=256m")
        run_job(model, folder / "job", {})
        sys.exit(0 if weights(folder / "job") == expected else 2)
    sys.exit(3)


def _private_disk(folder: Path, kilobytes: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    flags = (CLONE_NEWNS, CLONE_NEWNS | CLONE_NEWUSER)
    if os.name != "posix" or all(libc.unshare(flag) for flag in flags):
        return False
    libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
    return _mount(folder, 0, f"size={kilobytes}k")


def _mount(folder: Path, flags: int, options: str) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return not libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, options.encode())
