"""Tokens a second, model FLOPs utilisation and peak memory of a training."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mwalimu.finetune.watching.flops import Flops, Work, peak_flops


class Speed:
    """A stop-watch that stands still while checkpoints are saved and rows validated."""

    def __init__(self, model: Any, *, autocast: bool, devices: int = 1) -> None:
        self.device = model.device
        self.flops = Flops(model)
        dtype = torch.bfloat16 if autocast else model.dtype
        self.peak = devices * peak_flops(model.device, dtype)
        self.tokens = 0
        self.seconds = 0.0
        self._mark = time.perf_counter()

    def lap(self, work: Work) -> dict[str, float]:
        """Of the step that ends now: tokens_per_second, mfu (0 to 1), peak_memory_mib so far.

        `work` is that of all devices, and memory this one's.
        """
        now = time.perf_counter()
        seconds = max(now - self._mark, 1e-9)
        self._mark = now
        self.tokens += work.tokens
        self.seconds += seconds
        return {
            "tokens_per_second": round(work.tokens / seconds, 1),
            "mfu": round(self.flops.of(work) / seconds / self.peak, 4),
            "peak_memory_mib": round(peak_memory(self.device) / 2**20, 1),
        }

    @property
    def mean(self) -> float:
        """Tokens a second since this process began to train."""
        return self.tokens / max(self.seconds, 1e-9)

    @contextmanager
    def paused(self) -> Iterator[None]:
        before = time.perf_counter()
        try:
            yield
        finally:
            self._mark += time.perf_counter() - before


def peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU's allocator, or of the process where the CPU trains."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
