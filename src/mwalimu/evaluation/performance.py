"""What an arm's answers cost on this machine: seconds, memory and disk.

Arms are measured one after another in one process, not interleaved: on a busy machine differences
of a few percent between arms are noise.
"""

from __future__ import annotations

import ctypes
import gc
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mwalimu.data.batched_generation import Answer
from mwalimu.data.loading import base_of
from mwalimu.data.record import Record
from mwalimu.evaluation.generate import Answerer

KIB, MIB = 1 << 10, 1 << 20
LATENCY_ROWS = 20
WARM_UP = 2


@dataclass(frozen=True, slots=True)
class Performance:
    """Seconds, tokens a second, MiB and counts; None where unknown.

    Latency is of one answer alone, over `latency_rows` rows spread over the test set, after
    `WARM_UP` answers that are not counted; `tokens_per_s` is of the batched pass over all rows.
    """

    device: str | None = None
    threads: int | None = None
    latency_rows: int = 0
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None
    tokens_per_s: float | None = None
    peak_memory_mib: float | None = None
    parameters: int | None = None
    size_mib: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measured_answers(
    answerer: Answerer,
    records: Sequence[Record],
    *,
    folder: Path,
    batch_size: int,
    on_batch: Callable[[int], None],
) -> tuple[list[Answer], Performance]:
    """The answers to `records`, in order, and what they took.

    The latencies come first: they also warm the libraries up, whose own start-up memory and time
    would else be put on the arm that happens to be first.
    """
    prompts = answerer.encode(records)
    rows = spread(answerer.fitting(prompts), LATENCY_ROWS)
    p50, p95 = latencies(lambda row: answerer.answer([prompts[row]]), rows)
    with PeakMemory(answerer.model.device.type) as growth:
        started = time.perf_counter()
        answers = answerer.answer_all(prompts, batch_size=batch_size, on_batch=on_batch)
        seconds = time.perf_counter() - started
    performance = Performance(
        device=device_name(answerer.model.device),
        threads=_threads(),
        latency_rows=len(rows),
        latency_p50_s=p50,
        latency_p95_s=p95,
        tokens_per_s=sum(answer.tokens for answer in answers) / seconds if rows else None,
        peak_memory_mib=_peak_mib(answerer.model, growth),
        parameters=parameter_count(answerer.model),
        size_mib=size_on_disk(folder),
    )
    return answers, performance


def spread(rows: Sequence[int], wanted: int) -> list[int]:
    """At most `wanted` of `rows`, evenly spaced from the first to the last."""
    places = np.linspace(0, len(rows) - 1, min(wanted, len(rows))).round().astype(int)
    return [rows[place] for place in places]


def latencies(
    answer: Callable[[int], object], rows: Sequence[int]
) -> tuple[float | None, float | None]:
    """Median and 95th percentile of the seconds of `answer(row)`; None without rows."""
    for row in rows[:WARM_UP]:
        answer(row)
    seconds = []
    for row in rows:
        started = time.perf_counter()
        answer(row)
        seconds.append(time.perf_counter() - started)
    if not seconds:
        return None, None
    p50, p95 = np.percentile(seconds, [50, 95])
    return float(p50), float(p95)


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
        peak = _cuda().max_memory_allocated() if self.cuda else _peak_resident()
        if not self.cuda:
            _set_malloc(mmap_above=32 * MIB, trim_above=64 * MIB)  # where glibc settles by itself
        if peak is not None and self._before is not None:
            self.mib = (peak - self._before) / MIB


def release_memory() -> None:
    """Gives what is no longer used back: Python's garbage, CUDA's cache, glibc's free pages."""
    gc.collect()
    if _cuda().is_available():
        _cuda().empty_cache()
    with suppress(OSError, AttributeError, TypeError):  # other C libraries have no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


def _set_malloc(*, mmap_above: int, trim_above: int) -> None:
    """Of how many bytes on glibc gives a freed block, or the free end of its heap, back at once."""
    with suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, mmap_above)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, trim_above)  # M_TRIM_THRESHOLD


def parameter_count(model: Any) -> int:
    """Tied weights are one tensor and count once; quantised ones count like others."""
    from mwalimu.data import quantised

    return quantised.parameter_count(model)


def weight_bytes(model: Any) -> int:
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _peak_mib(model: Any, growth: PeakMemory) -> float | None:
    return None if growth.mib is None else weight_bytes(model) / MIB + growth.mib


def size_on_disk(folder: Path) -> float | None:
    """MiB of the safetensors files, of an adapter's base too; None where a hub id is among them."""
    base = base_of(folder)
    folders = [folder, Path(base["model"])] if base else [folder]
    sizes = [[path.stat().st_size for path in f.glob("*.safetensors")] for f in folders]
    return sum(map(sum, sizes)) / MIB if all(sizes) else None


def device_name(device: Any) -> str:
    return str(_cuda().get_device_name(device)) if device.type == "cuda" else str(device.type)


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


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _cuda() -> Any:
    import torch

    return torch.cuda
