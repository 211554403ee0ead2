import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mwalimu.data.record import Message, Record
from mwalimu.evaluation import memory, performance
from mwalimu.evaluation.generate import load_answerer
from mwalimu.evaluation.journal import Journal
from mwalimu.evaluation.memory import MIB, PeakMemory
from mwalimu.evaluation.performance import (
    latencies,
    loaded_of,
    measured_answers,
    parameter_count,
    size_on_disk,
    spread,
    weight_bytes,
)
from tests.command import processes
from tests.tiny import make_tiny_model


def journal(folder: Path) -> Journal:
    return Journal.opened(folder / "journal.jsonl", "fp")


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets its peak back")


def test_the_sample_is_spread_over_the_rows() -> None:
    assert spread(range(100), 5) == [0, 25, 50, 74, 99]
    assert spread([3, 5], 20) == [3, 5]
    assert spread([], 20) == []
    assert len(set(spread(range(21), 20))) == 20


def test_latencies_leave_the_warm_up_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    took = {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}
    asked: list[int] = []

    def answer(row: int) -> None:
        asked.append(row)
        clock[0] += took[row] if len(asked) > 2 else 1000

    monkeypatch.setattr(performance.time, "perf_counter", lambda: clock[0])
    found = latencies(answer, [0, 1, 2, 3])
    assert asked == [0, 1, 0, 1, 2, 3]
    assert found == pytest.approx({"p50": 2.5, "p95": 3.85, "p99": 3.97})
    assert latencies(answer, []) == {"p50": None, "p95": None, "p99": None}


@linux
def test_peak_memory_sees_what_was_freed_again() -> None:
    with PeakMemory("cpu") as growth:
        block = np.ones(80 * MIB, dtype=np.uint8)
        block += 1  # a page that was never written takes no memory
        del block
    assert growth.mib is not None and 79 < growth.mib < 90


def test_without_a_kernel_that_tells_memory_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError

    monkeypatch.setattr(memory.Path, "write_text", refuse)
    with PeakMemory("cpu") as growth:
        pass
    assert growth.mib is None


def grow_like_a_cache() -> None:
    """Up to 40 MiB, copied at each step: 79 MiB are alive at the end."""
    cache = torch.ones(MIB // 4)
    for _ in range(39):
        cache = torch.cat([cache, torch.ones(MIB // 4)])


def write_peaks(path: Path) -> None:
    peaks = []
    for size in (50_000, 3 * MIB, 700_000):
        garbage = [bytearray(b"x" * size) for _ in range(90 * MIB // size)]
        del garbage[::2]
        with PeakMemory("cpu") as growth:
            grow_like_a_cache()
        peaks.append(growth.mib or 0)
        del garbage
    path.write_text(json.dumps(peaks))


@linux
def test_what_earlier_arms_left_does_not_change_a_peak(tmp_path: Path) -> None:
    """In a process of its own: thousands of other tests leave more than arms do."""
    process = processes().Process(target=write_peaks, args=(tmp_path / "peaks",))
    process.start()
    process.join(60)
    peaks = json.loads((tmp_path / "peaks").read_text())
    assert all(78 < peak < 92 for peak in peaks), peaks


def test_tied_weights_count_once() -> None:
    model = torch.nn.ModuleList([torch.nn.Linear(3, 5, bias=False) for _ in range(2)])
    model[1].weight = model[0].weight
    model.register_buffer("seen", torch.zeros(2, dtype=torch.float64))
    assert parameter_count(model) == 15
    assert weight_bytes(model) == 15 * 4 + 2 * 8


def test_an_arm_is_measured(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    rows = [Record(str(i), "qa", (Message("user", "x" * i),)) for i in (5, 900, 7)]
    answerer = load_answerer(folder, max_tokens=4, trust_remote_code=False)
    answers, measured = measured_answers(
        answerer,
        answerer.encode(rows),
        loaded=loaded_of(answerer.model, folder),
        batch_size=2,
        journal=journal(tmp_path),
        on_done=lambda done: None,
    )
    assert [answer.tokens for answer in answers] == [4, 0, 4]
    assert measured.latency_rows == 2 and measured.device == "cpu"
    assert measured.latency_p50_s and measured.latency_p95_s
    assert 0 < measured.latency_p50_s <= measured.latency_p95_s
    assert measured.tokens_per_s and measured.tokens_per_s > 0
    assert measured.parameters == sum(p.numel() for p in answerer.model.parameters())
    file = (folder / "model.safetensors").stat().st_size
    assert measured.size_mib == size_on_disk(folder) == file / MIB
    if sys.platform == "linux":
        assert measured.parameters and measured.peak_memory_mib
        assert measured.peak_memory_mib >= 4 * measured.parameters / MIB


def test_an_arm_that_fits_no_prompt_has_no_speed(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    answerer = load_answerer(folder, max_tokens=4, trust_remote_code=False)
    rows = [Record("long", "qa", (Message("user", "x" * 900),))]
    _, measured = measured_answers(
        answerer,
        answerer.encode(rows),
        loaded=loaded_of(answerer.model, folder),
        batch_size=2,
        journal=journal(tmp_path),
        on_done=lambda done: None,
    )
    assert measured.latency_p50_s is None and measured.tokens_per_s is None


def test_a_hub_id_has_no_size_on_disk() -> None:
    assert size_on_disk(Path("some-org/some-model")) is None
