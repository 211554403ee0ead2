"""The most memory that a step needs beside the weights.

On a CPU: the high-water mark of the resident set, which Linux resets on demand, less what was
resident once the weights were loaded. On CUDA: the allocator's own peak, less the same.
"""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from pathlib import Path

import torch

MIB = 2**20
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """Made when weights are loaded and nothing has run."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.supported = self.cuda or sys.platform == "linux"
        self.release()
        if self.supported:
            self._before = torch.cuda.memory_allocated() if self.cuda else _resident("VmRSS")

    def reset(self) -> None:
        self.release()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        elif self.supported:
            RESET.write_text("5")

    def mib(self) -> float | None:
        if not self.supported:
            return None
        peak = torch.cuda.max_memory_allocated() if self.cuda else _resident("VmHWM")
        return (peak - self._before) / MIB

    def release(self) -> None:
        """Hands back what the allocators keep of the step before, which is not this one's."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
        elif sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)


def _resident(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
