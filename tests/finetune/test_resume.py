"""Killed, interrupted, damaged, out of disk: the same command goes on to the same bytes."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mwalimu.errors import DiskFull
from mwalimu.finetune.teaching import Teaching
from tests.finetune import worker
from tests.finetune.jobs import checkpoints, metrics, steps_of, sums, train, weights

KILLS = 6


def wait_for(condition: Callable[[], bool], process: Any) -> bool:
    """False if the process ended first."""
    while not condition():
        if not process.is_alive():
            return False
        time.sleep(0.001)
    return True


def last_step(folder: Path) -> int:
    try:
        lines = (folder / "metrics.jsonl").read_bytes().splitlines()
        return int(json.loads(lines[-1])["step"])
    except (OSError, IndexError, ValueError, KeyError):
        return 0


def reached(folder: Path, step: int) -> bool:
    return last_step(folder) >= step


@pytest.mark.parametrize("method", ["full", "lora"])
def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    tmp_path: Path, tiny: Path, method: str
) -> None:
    job = {
        "method": method,
        "dropout": 0.2 if method == "lora" else 0.0,
        "rows": sums(96),
        "validation": sums(16, seed=1),
        "epochs": 4,
        "save_every": 3,
        "accumulation": 2,
        "batch_size": 4,
    }
    train(tiny, tmp_path / "whole", **job)
    rng = random.Random(method)
    folder, context = tmp_path / "killed", worker.processes()
    kills, total = 0, 48
    while True:
        process = context.Process(target=worker.run_job, args=(tiny, folder, job))
        process.start()
        goal = kills * total // KILLS + rng.randrange(1, total // KILLS)
        if kills < KILLS and wait_for(partial(reached, folder, goal), process):
            time.sleep(rng.random() * 0.03)
            os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
    assert kills >= KILLS - 1
    assert weights(folder) == weights(tmp_path / "whole")
    assert steps_of(folder) == list(range(1, total + 1))
    without_time = [{**line, "seconds": 0} for line in metrics(folder)]
    assert without_time == [{**line, "seconds": 0} for line in metrics(tmp_path / "whole")]
    assert not (folder / "checkpoints").exists()


def interrupt_at(step: int, *, note: str = "loss", times: int = 1) -> Callable[..., None]:
    """A progress callback that presses Ctrl-C."""

    def on_progress(_label: str, done: int, _total: int, text: str) -> None:
        if done == step and note in text:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    return on_progress


def test_ctrl_c_saves_the_last_whole_step(tmp_path: Path, tiny: Path) -> None:
    train(tiny, tmp_path / "whole")
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "stopped", on_progress=interrupt_at(6), save_every=1000)
    assert signal.getsignal(signal.SIGINT) is handler
    assert checkpoints(tmp_path / "stopped") == ["step-6"]
    assert steps_of(tmp_path / "stopped") == list(range(1, 7))
    seen: list[str] = []
    train(tiny, tmp_path / "stopped", on_progress=lambda *call: seen.append(call[-1]))
    assert "goes on from step 6" in seen
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    assert steps_of(tmp_path / "stopped") == list(range(1, 17))


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path, on_progress=interrupt_at(3, times=2), save_every=1000)
    assert not (tmp_path / "checkpoints").exists()


def test_ctrl_c_during_validation_does_not_repeat_the_epoch(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {"validation": sums(24, seed=1)}
    train(tiny, tmp_path / "whole", **job)
    real, calls = Teaching.__call__, []

    def press(*arguments: Any) -> Any:
        calls.append(torch.is_grad_enabled())
        if calls.count(False) == 2:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Teaching, "__call__", press)
        train(tiny, tmp_path / "stopped", **job, save_every=1000)
    assert checkpoints(tmp_path / "stopped") == ["step-8"]
    train(tiny, tmp_path / "stopped", **job)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    validated = [line["step"] for line in metrics(tmp_path / "stopped") if "best" in line]
    assert validated == [8, 16] and steps_of(tmp_path / "stopped") == list(range(1, 17))


def test_a_process_told_to_stop_exits_with_a_checkpoint(tmp_path: Path, tiny: Path) -> None:
    job = {"epochs": 50}
    process = worker.processes().Process(
        target=worker.run_until_interrupted, args=(tiny, tmp_path, job)
    )
    process.start()
    assert wait_for(partial(reached, tmp_path, 5), process)
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(20)
    assert process.exitcode == 130
    assert f"step-{steps_of(tmp_path)[-1]}" in checkpoints(tmp_path)


@pytest.mark.parametrize("place", ["model.safetensors", "optimiser.safetensors", "state.json"])
def test_a_corrupted_newest_checkpoint_costs_steps_but_no_bit(
    tmp_path: Path, tiny: Path, place: str
) -> None:
    job = {"validation": sums(8, seed=1), "save_every": 3}
    train(tiny, tmp_path / "whole", **job)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "torn", **job, on_progress=interrupt_at(14))
    assert checkpoints(tmp_path / "torn") == ["step-12", "step-14", "step-8"]
    newest = tmp_path / "torn" / "checkpoints" / "step-14" / place
    newest.write_bytes(newest.read_bytes()[:-100])
    seen: list[str] = []
    train(tiny, tmp_path / "torn", **job, on_progress=lambda *call: seen.append(call[-1]))
    assert "skipped checkpoint step-14: is damaged, a hash does not fit" in seen
    assert "goes on from step 12" in seen
    assert weights(tmp_path / "torn") == weights(tmp_path / "whole")
    assert steps_of(tmp_path / "torn") == list(range(1, 17))


@pytest.mark.parametrize("change", [{"learning_rate": 1e-3}, {"stage": "other"}, {"epochs": 3}])
def test_another_job_in_the_folder_starts_afresh(
    tmp_path: Path, tiny: Path, change: dict[str, Any]
) -> None:
    train(tiny, tmp_path / "whole", **change)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "reused", on_progress=interrupt_at(9))
    seen: list[str] = []
    train(tiny, tmp_path / "reused", **change, on_progress=lambda *call: seen.append(call[-1]))
    assert any("is of another job" in note for note in seen)
    assert weights(tmp_path / "reused") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "reused")[0]["step"] == 1


@pytest.mark.parametrize("nth", [1, 4, 9, 17, 26, 41, 57, 72])
def test_a_full_disk_at_any_moment_is_told_and_costs_nothing(
    tmp_path: Path, tiny: Path, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny, tmp_path / "whole")
    calls = []
    real = os.fsync

    def full(descriptor: int) -> None:
        calls.append(1)
        if len(calls) == nth:
            raise OSError(28, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch, pytest.raises(DiskFull, match="free some space"):
        patch.setattr(os, "fsync", full)
        train(tiny, tmp_path / "full")
    assert not (tmp_path / "full" / "trained.json").exists()
    for folder in (tmp_path / "full" / "checkpoints").glob("step-*"):
        load_file(folder / "model.safetensors")
    train(tiny, tmp_path / "full")
    assert weights(tmp_path / "full") == weights(tmp_path / "whole")
    assert steps_of(tmp_path / "full") == list(range(1, 17))


@pytest.mark.parametrize("kilobytes", [200, 500, 900])
def test_a_really_full_disk(tmp_path: Path, tiny: Path, kilobytes: int) -> None:
    train(tiny, tmp_path / "whole")
    (tmp_path / "disk").mkdir()
    expected = weights(tmp_path / "whole")
    process = worker.processes().Process(
        target=worker.run_on_a_full_disk,
        args=(tiny, tmp_path / "disk", {}, kilobytes, expected),
    )
    process.start()
    process.join(30)
    if process.exitcode == worker.NOT_ALLOWED:
        pytest.skip("mounting a small disk is not allowed here")
    assert process.exitcode == 0
