"""Joules, where the machine tells them: the counters of Intel's and AMD's RAPL, or NVML's power."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

POWERCAP = Path("/sys/class/powercap")
EVERY_S = 0.05


class Joules:
    """Around a block: `joules` spent by the packages (CPU) or the device (CUDA); None if unknown.

    On a CPU it is the whole package, whoever else works on it. On CUDA power is sampled every
    `EVERY_S` seconds and its mean multiplied by the time.
    """

    def __init__(self, device: str) -> None:
        self.joules: float | None = None
        self._meter: Any = _Power() if device == "cuda" else _Packages()

    def __enter__(self) -> Joules:
        self._meter.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.joules = self._meter.stop()


class _Packages:
    """`energy_uj` counts micro-joules and starts again at `max_energy_range_uj`."""

    def start(self) -> None:
        self.before = _counters()

    def stop(self) -> float | None:
        after = _counters()
        if not self.before or after.keys() != self.before.keys():
            return None
        return sum(_risen(path, self.before[path], after[path]) for path in after) / 1e6


def _counters() -> dict[Path, int]:
    """Of the packages (intel-rapl:0), not of their parts (intel-rapl:0:0); empty if unreadable."""
    try:
        zones = sorted(path for path in POWERCAP.glob("*-rapl:*") if path.name.count(":") == 1)
        return {zone: int((zone / "energy_uj").read_text()) for zone in zones}
    except (OSError, ValueError):
        return {}


def _risen(zone: Path, before: int, after: int) -> int:
    if after >= before:
        return after - before
    return after - before + int((zone / "max_energy_range_uj").read_text())


class _Power:
    """NVML through torch, in milliwatts."""

    def start(self) -> None:
        self.watts: list[float] = []
        self.ended = threading.Event()
        self.clock = time.perf_counter
        self.began = self.clock()
        self.thread = threading.Thread(target=self._sample, daemon=True)
        self.thread.start()

    def stop(self) -> float | None:
        self.ended.set()
        self.thread.join()
        if not self.watts:
            return None
        return sum(self.watts) / len(self.watts) * (self.clock() - self.began)

    def _sample(self) -> None:
        import torch

        while True:
            try:
                self.watts.append(torch.cuda.power_draw() / 1000)
            except Exception:  # pynvml absent, or a driver that does not tell
                self.watts.clear()
                return
            if self.ended.wait(EVERY_S):
                return
