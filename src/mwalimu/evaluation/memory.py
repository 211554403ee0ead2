"""The most memory that a block of work took, beside what was there before it."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

KIB, MIB = 1 << 10, 1 << 20


class PeakMemory:
    """Around a block: `mib` is how far memory rose above its level at the start; None if unknown.

    An arm's peak is the bytes of its weights plus this growth (activations and the key-value
    cache). On CUDA the allocator counts; on Linux the kernel, whose high-water mark of resident
    memory can be set back. That mark alone would also tell of libraries and of what earlier arms
    left in the allocator's hands, so glibc gives free pages back first and freed blocks at once.
    It costs all arms some 8 % of speed.
    """

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"
        self.mib: float | None = None

    def __enter__(self) -> PeakMemory:
        release_memory()
        if self.cuda:
            _cuda().reset_peak_memory_stats()
            self._before = _cuda().memory_allocated()
        else:
            _set_malloc(mmap_above=128 * KIB, trim_above=128 * KIB)
            self._before = _peak_resident(reset=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.mib = self.so_far()
        if not self.cuda:
            _set_malloc(mmap_above=32 * MIB, trim_above=64 * MIB)  # where glibc settles by itself

    def so_far(self) -> float | None:
        peak = _cuda().max_memory_allocated() if self.cuda else _peak_resident()
        known = peak is not None and self._before is not None
        return (peak - self._before) / MIB if known else None


def release_memory() -> None:
    """Gives what is no longer used back: Python's garbage, CUDA's cache, glibc's free pages."""
    gc.collect()
    if "torch" in sys.modules and _cuda().is_available():  # others' runtimes do without torch
        _cuda().empty_cache()
    with suppress(OSError, AttributeError, TypeError):  # other C libraries have no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


def _set_malloc(*, mmap_above: int, trim_above: int) -> None:
    """Of how many bytes on glibc gives a freed block, or the free end of its heap, back at once."""
    with suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, mmap_above)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, trim_above)  # M_TRIM_THRESHOLD


def _peak_resident(*, reset: bool = False) -> int | None:
    """Bytes: the most that was resident since the last reset; None where no kernel tells it."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * KIB if found else None


def _cuda() -> Any:
    import torch

    return torch.cuda
