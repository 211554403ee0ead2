"""How much memory there is to train in, and how amounts of it are written."""

from __future__ import annotations

import ctypes
import os
import re
from contextlib import suppress
from pathlib import Path

from mwalimu.errors import ConfigError
from mwalimu.finetune.footprint.setting import Device

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h
_MEMINFO = Path("/proc/meminfo")
_STATUS = Path("/proc/self/status")
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def training_device() -> Device:
    """Where a training on this machine runs. Imports torch."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def memory_of(device: Device) -> int:
    """Bytes: of the first GPU, or of this machine, as far as a container may use it."""
    if device == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(0).total_memory)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([whole, *_container_limits()])


def free_memory_of(device: Device) -> int:
    """Bytes that a training in this process may have: those that are free, and its own."""
    if device == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info()
        return int(free + torch.cuda.memory_reserved())
    try:
        available = _kib(_MEMINFO, "MemAvailable") + _kib(_STATUS, "VmRSS")
    except OSError:  # not Linux
        return memory_of(device)
    return min(available, memory_of(device))


def give_memory_back(at_least: int = 1 << 20) -> None:
    """From now on freed memory goes back to the system at once, where a tensor has so many bytes.

    The C library of Linux keeps it for later, and on a CPU a training of many sizes of tensors can
    come to hold twice what it needs (benchmarks/finetune/memory.py). To give it back costs time:
    the system clears every page that it hands out anew.
    """
    with suppress(OSError, AttributeError, TypeError):  # another system, another C library
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, at_least)


def parse_memory(text: str) -> int:
    """Bytes of 24GB (10^9), 24GiB (2^30) or 24G, which is the latter.

    Raises ConfigError.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b?)\s*", text, re.IGNORECASE)
    if found is None:
        raise ConfigError(f"{text!r} is no amount of memory", fix="write it like 24GB or 512MiB")
    unit = 1000.0 if found[3].lower() == "b" else 1024.0
    return round(float(found[1]) * unit ** _POWERS[found[2].upper()])


def gib(size: float) -> str:
    """`5.2 GiB`, `310 MiB`."""
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"


def _container_limits() -> list[int]:
    """None where there is no container, or its word for no limit."""
    limits = []
    for path in _LIMITS:
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):
            continue
    return limits


def _kib(path: Path, name: str) -> int:
    """Bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB", path.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
