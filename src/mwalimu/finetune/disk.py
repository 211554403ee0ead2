"""Whether the disk has room, before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from mwalimu.errors import DiskFull


def require_space(folder: Path, needed: int, what: str, *, fix: str) -> None:
    """Raises DiskFull, with both numbers, where fewer than `needed` bytes are free for `folder`.

    `what` begins the sentence: "the next checkpoint needs".
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise DiskFull(
            f"{what} {in_words(needed)} more on the disk, {in_words(free)} are free",
            where=str(folder),
            fix=fix,
        )


def in_words(size: float) -> str:
    """1,536 -> 1.5 KiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
