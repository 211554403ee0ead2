"""How much memory there is to train in, and how amounts of it are written."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mwalimu.errors import ConfigError
from mwalimu.finetune.footprint.setting import Device

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
