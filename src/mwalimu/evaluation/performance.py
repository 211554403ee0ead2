"""What an arm's answers cost on this machine: seconds, memory and disk.

Arms are measured one after another in one process, not interleaved: on a busy machine differences
of a few percent between arms are noise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mwalimu.data.batched_generation import Answer
from mwalimu.data.loading import base_of
from mwalimu.evaluation.energy import Joules
from mwalimu.evaluation.generate import UNANSWERED, Answering
from mwalimu.evaluation.journal import Journal
from mwalimu.evaluation.load import percentiles
from mwalimu.evaluation.memory import MIB, PeakMemory

LATENCY_ROWS = 20
WARM_UP = 2


@dataclass(frozen=True, slots=True)
class Performance:
    """Seconds, tokens a second, MiB, joules and counts; None where unknown.

    Latency is of one answer alone, over `latency_rows` rows spread over the test set, after
    `WARM_UP` answers that are not counted; that to the first token is of the same rows. The rates,
    the energy and the peak memory are of the batched pass over all rows.
    """

    device: str | None = None
    threads: int | None = None
    latency_rows: int = 0
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None
    latency_p99_s: float | None = None
    first_token_p50_s: float | None = None
    first_token_p95_s: float | None = None
    tokens_per_s: float | None = None
    requests_per_s: float | None = None
    joules_per_request: float | None = None
    peak_memory_mib: float | None = None
    parameters: int | None = None
    size_mib: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is known of an arm before it answers: where it runs, and what it holds.

    `kind` is cpu or cuda, `device` the name of that; `held_mib` is memory before any answer.
    """

    kind: str
    device: str
    threads: int | None
    parameters: int | None
    size_mib: float | None
    held_mib: float | None


def loaded_of(model: Any, folder: Path) -> Loaded:
    """Of a transformers model that was read from `folder`; it holds its weights."""
    return Loaded(
        kind=model.device.type,
        device=device_name(model.device),
        threads=_threads(),
        parameters=parameter_count(model),
        size_mib=size_on_disk(folder),
        held_mib=weight_bytes(model) / MIB,
    )


def measured_answers(
    answerer: Answering,
    prompts: Sequence[list[int]],
    *,
    loaded: Loaded,
    batch_size: int,
    journal: Journal,
    on_done: Callable[[int], None],
) -> tuple[list[Answer], Performance]:
    """The answers to `prompts`, in order, and what they took, over all lives of the journal.

    The latencies come first: they also warm the libraries up, whose own start-up memory and time
    would else be put on the arm that happens to be first. `on_done` is told how many are answered.
    """
    fitting = answerer.fitting(prompts)
    rows = spread(fitting, LATENCY_ROWS)
    whole = latencies(lambda row: answerer.answer([prompts[row]]), rows)
    first = latencies(lambda row: answerer.answer([prompts[row]], tokens=1), rows)
    left_out = len(prompts) - len(fitting)
    with _Meter(loaded.kind, journal) as meter:
        for batch, found in answerer.answer_batches(
            prompts, batch_size=batch_size, known=frozenset(journal.answers)
        ):
            meter.lap(batch, found)
            on_done(left_out + len(journal.answers))
    answers = [journal.answers.get(row, UNANSWERED) for row in range(len(prompts))]
    performance = Performance(
        device=loaded.device,
        threads=loaded.threads,
        latency_rows=len(rows),
        latency_p50_s=whole["p50"],
        latency_p95_s=whole["p95"],
        latency_p99_s=whole["p99"],
        first_token_p50_s=first["p50"],
        first_token_p95_s=first["p95"],
        tokens_per_s=sum(a.tokens for a in answers) / journal.seconds if rows else None,
        requests_per_s=len(fitting) / journal.seconds if rows else None,
        joules_per_request=journal.joules / len(fitting) if journal.joules and rows else None,
        peak_memory_mib=_peak_mib(loaded.held_mib, journal.peak_mib) if rows else None,
        parameters=loaded.parameters,
        size_mib=loaded.size_mib,
    )
    return answers, performance


class _Meter:
    """Puts each batch into the journal with the seconds, joules and memory that it took."""

    def __init__(self, device: str, journal: Journal) -> None:
        self.journal = journal
        self.memory = PeakMemory(device)
        self.device = device

    def __enter__(self) -> _Meter:
        self.memory.__enter__()
        self._start()
        return self

    def lap(self, batch: list[int], answers: list[Answer]) -> None:
        seconds = time.perf_counter() - self.started
        self.energy.__exit__(None, None, None)
        self.journal.add(
            batch,
            answers,
            seconds=seconds,
            joules=self.energy.joules,
            peak_mib=self.memory.so_far(),
        )
        self._start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.energy.__exit__(kind, error, trace)
        self.memory.__exit__(kind, error, trace)

    def _start(self) -> None:
        self.energy = Joules(self.device).__enter__()
        self.started = time.perf_counter()


def spread(rows: Sequence[int], wanted: int) -> list[int]:
    """At most `wanted` of `rows`, evenly spaced from the first to the last."""
    places = np.linspace(0, len(rows) - 1, min(wanted, len(rows))).round().astype(int)
    return [rows[place] for place in places]


def latencies(answer: Callable[[int], object], rows: Sequence[int]) -> dict[str, float | None]:
    """Percentiles (`percentiles`) of the seconds of `answer(row)`; None without rows."""
    for row in rows[:WARM_UP]:
        answer(row)
    seconds = []
    for row in rows:
        started = time.perf_counter()
        answer(row)
        seconds.append(time.perf_counter() - started)
    return percentiles(seconds)


def parameter_count(model: Any) -> int:
    """Tied weights are one tensor and count once; quantised ones count like others."""
    from mwalimu.data import quantised

    return quantised.parameter_count(model)


def weight_bytes(model: Any) -> int:
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _peak_mib(held: float | None, growth: float | None) -> float | None:
    return None if held is None or growth is None else held + growth


def size_on_disk(folder: Path) -> float | None:
    """MiB of the safetensors files, of an adapter's base too; None where a hub id is among them."""
    base = base_of(folder)
    folders = [folder, Path(base["model"])] if base else [folder]
    sizes = [[path.stat().st_size for path in f.glob("*.safetensors")] for f in folders]
    return sum(map(sum, sizes)) / MIB if all(sizes) else None


def device_name(device: Any) -> str:
    return str(_cuda().get_device_name(device)) if device.type == "cuda" else str(device.type)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _cuda() -> Any:
    import torch

    return torch.cuda
