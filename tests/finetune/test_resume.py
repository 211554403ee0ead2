"""Killed, interrupted, damaged, out of disk: the same command goes on to the same bytes.

MWALIMU_LONG=1 kills 1,000 times; `python -m tests.finetune.kills 200` as often as it says.
"""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mwalimu.errors import DiskFull
from mwalimu.finetune.teaching import Teaching
from mwalimu.finetune.trainer import Trainer
from tests.command import processes
from tests.figures import record
from tests.finetune import kills, worker
from tests.finetune.jobs import checkpoints, metrics, steps_of, sums, train, untimed, weights

KILLS = 1_000 if os.environ.get("MWALIMU_LONG") else 40


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


@pytest.mark.parametrize("method, share", [("full", 0.75), ("lora", 0.25)])
def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    tmp_path: Path, tiny: Path, method: str, share: float
) -> None:
    count = round(KILLS * share)
    job = kills.job_of(count, method)
    process = processes().Process(target=kills.kill, args=(tiny, tmp_path, job, count, 0))
    process.start()
    process.join()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["differ"] == [] and report["kills"] == count
    if count >= 30:  # enough for chance to have had them all
        assert report["torn"] and all(report["hit"][p] for p in ("step", "save", "validate"))
    log = metrics(tmp_path / "killed")
    assert [x["step"] for x in log if "loss" in x] == list(range(1, report["steps"] + 1))
    assert len([x for x in log if "validation_loss" in x]) > job["epochs"]
    note = f"{report['steps']} steps; torn saves: {report['torn']}"
    record("R3", method, tried=report["kills"], seed=0, note=note)


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
    assert checkpoints(tmp_path / "stopped") == ["step-0", "step-6"]
    assert steps_of(tmp_path / "stopped") == list(range(1, 7))
    seen: list[str] = []
    train(tiny, tmp_path / "stopped", on_progress=lambda *call: seen.append(call[-1]))
    assert "goes on from step 6" in seen
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    assert steps_of(tmp_path / "stopped") == list(range(1, 17))


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path, on_progress=interrupt_at(3, times=2), save_every=1000)
    assert checkpoints(tmp_path) == ["step-0"]


@pytest.mark.parametrize("every, step", [(None, 8), (3, 3)])
def test_ctrl_c_during_validation_does_not_repeat_the_steps_before(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, every: int | None, step: int
) -> None:
    job = {"validation": sums(24, seed=1), "validate_every": every, "patience": 99}
    train(tiny, tmp_path / "whole", **job)
    real, calls = Teaching.__call__, []

    def press(*arguments: Any) -> Any:
        calls.append(torch.is_grad_enabled())
        if calls.count(False) == 3:  # the first one is the dry run
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Teaching, "__call__", press)
        train(tiny, tmp_path / "stopped", **job, save_every=1000)
    assert checkpoints(tmp_path / "stopped") == ["step-0", f"step-{step}"]
    train(tiny, tmp_path / "stopped", **job)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    assert untimed(tmp_path / "stopped") == untimed(tmp_path / "whole")
    validated = [line["step"] for line in metrics(tmp_path / "stopped") if "best" in line]
    assert validated == ([8, 16] if every is None else [3, 6, 8, 9, 12, 15, 16])


def test_a_process_told_to_stop_exits_with_a_checkpoint(tmp_path: Path, tiny: Path) -> None:
    job = {"epochs": 50}
    process = processes().Process(target=worker.run_until_interrupted, args=(tiny, tmp_path, job))
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
    assert f"skipped checkpoint step-14: is damaged, the hash of {place} does not fit" in seen
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


@pytest.mark.parametrize("nth", [1, 4, 9, 17, 26, 41, 52, 58])
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


@pytest.mark.parametrize("kilobytes", [10, 300, 700])
@pytest.mark.parametrize("says", ["what is free", "nothing"])
def test_a_really_full_disk(tmp_path: Path, tiny: Path, kilobytes: int, says: str) -> None:
    """It fills up in the middle; under a quota it does not say so before."""
    train(tiny, tmp_path / "whole")
    (tmp_path / "disk").mkdir()
    expected = weights(tmp_path / "whole")
    process = processes().Process(
        target=worker.run_on_a_full_disk,
        args=(tiny, tmp_path / "disk", kilobytes, says == "nothing", expected),
    )
    process.start()
    process.join(60)
    if process.exitcode == worker.NOT_ALLOWED:
        pytest.skip("mounting a small disk is not allowed here")
    assert process.exitcode == 0


def free_of(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=size))


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """25,000 parameters and their moments are 0.3 MiB, and there is 1 MiB of slack for each."""
    free_of(monkeypatch, 5 << 20)
    with pytest.raises(
        DiskFull, match=r"4 checkpoints and the student need 5\.\d MiB more"
    ) as told:
        train(tiny, tmp_path / "job")
    assert "5.0 MiB are free" in str(told.value) and "lower finetune.keep" in str(told.value)
    assert not (tmp_path / "job" / "checkpoints").exists()
    train(tiny, tmp_path / "job", keep=1)  # three of them fit


def test_the_space_of_a_checkpoint_is_checked_before_it_is_written(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny, tmp_path / "whole")

    def fill(_label: str, step: int, *_: object) -> None:
        if step == 6:
            free_of(monkeypatch, 1 << 20)

    with monkeypatch.context(), pytest.raises(DiskFull, match=r"next checkpoint needs 1\.\d MiB"):
        train(tiny, tmp_path / "job", on_progress=fill)
    assert checkpoints(tmp_path / "job") == ["step-0", "step-4"]
    monkeypatch.undo()
    train(tiny, tmp_path / "job")
    assert weights(tmp_path / "job") == weights(tmp_path / "whole")


def test_what_would_fail_after_the_first_epoch_fails_before_the_first_step(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation, and on the longest rows."""
    real = Teaching.__call__

    def fail(teaching: Any, batch: Any, *rest: Any) -> Any:
        if not torch.is_grad_enabled():
            assert len(batch.rows[-1].ids) == longest and len(batch.rows) == 8
            raise RuntimeError("in validation")
        return real(teaching, batch, *rest)

    validation = sums(20, seed=1)
    longest = max(
        len(x["messages"][0]["content"] + x["messages"][1]["content"]) for x in validation
    )
    longest += 4  # the roles and ends of both turns
    monkeypatch.setattr(Teaching, "__call__", fail)
    with pytest.raises(RuntimeError, match="in validation"):
        train(tiny, tmp_path, validation=validation)
    assert metrics(tmp_path) == [] and checkpoints(tmp_path) == ["step-0"]


def test_the_dry_run_leaves_no_trace_in_the_result(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever validation draws of the generators; LoRA's dropout would show it."""
    job = {"method": "lora", "dropout": 0.5, "validation": sums(8, seed=1), "epochs": 1}
    real = Teaching.__call__

    def draw(*arguments: Any) -> Any:
        if not torch.is_grad_enabled():
            torch.rand(3)
        return real(*arguments)

    monkeypatch.setattr(Teaching, "__call__", draw)
    train(tiny, tmp_path / "with", **job)
    monkeypatch.setattr(Trainer, "_prove", lambda _: None)
    train(tiny, tmp_path / "without", **job)
    assert weights(tmp_path / "with") == weights(tmp_path / "without")


def test_checkpoints_by_the_clock(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(
            tiny, tmp_path, save_every=1000, save_minutes=1e-9, keep=3, on_progress=interrupt_at(4)
        )
    assert checkpoints(tmp_path) == ["step-2", "step-3", "step-4"]


def test_how_a_result_is_watched_and_kept_may_change_on_the_way(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path, on_progress=interrupt_at(6))
    seen: list[str] = []
    changes = {"save_every": 5, "save_minutes": 1, "keep": 4}
    train(tiny, tmp_path, **changes, on_progress=lambda *call: seen.append(call[-1]))
    assert "goes on from step 6" in seen
