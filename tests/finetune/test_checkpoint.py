"""Checkpoints: exact, checked, and never of another job."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mwalimu.errors import TrainingError
from mwalimu.finetune.checkpoint import Checkpoints
from mwalimu.finetune.optimiser import build_optimiser
from mwalimu.finetune.snapshot import Snapshot
from mwalimu.finetune.state import Best, TrainState
from mwalimu.finetune.student import load_student
from tests.finetune.jobs import settings, student


def make(tiny: Path, method: str = "full", *, steps: int = 2) -> Snapshot:
    """A model and its optimiser after some steps on a made-up loss."""
    model, _ = load_student(student(tiny, method=method, lora_rank=2), seed=0)
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    optimiser = build_optimiser(named, settings())
    for _ in range(steps):
        sum(((p - 1) ** 2).sum() for _, p in named).backward()
        optimiser.step()
        optimiser.zero_grad()
    return Snapshot(model, optimiser)


def moments(snapshot: Snapshot) -> list[torch.Tensor]:
    trained = [p for p in snapshot.model.parameters() if p.requires_grad]
    kept = snapshot.optimiser.state
    return [kept[p][m] for p in trained for m in ("step", "exp_avg", "exp_avg_sq")]


def values(snapshot: Snapshot) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in snapshot.model.state_dict().values()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Skipped(list[str]):
    def __call__(self, note: str) -> None:
        self.append(note)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_all_comes_back_exactly(tmp_path: Path, tiny: Path, method: str) -> None:
    snapshot = make(tiny, method)
    state = TrainState(step=7, epoch=1, position=3, tokens=99, seconds=0.1 + 0.2, epoch_nats=1 / 3)
    state.best = Best(1, 4, 2 / 3, None)
    checkpoints = Checkpoints(tmp_path, "job")
    checkpoints.save(TrainState(step=4), snapshot)
    checkpoints.save(state, snapshot)
    drawn = (torch.rand(4), random.random())

    fresh = make(tiny, method, steps=0)
    torch.manual_seed(123)
    assert checkpoints.restore(fresh, Skipped()) == state
    assert (torch.rand(4).equal(drawn[0]), random.random()) == (True, drawn[1])
    assert all(map(torch.equal, values(fresh), values(snapshot)))
    assert all(map(torch.equal, moments(fresh), moments(snapshot)))


def test_the_thread_count_comes_back(tmp_path: Path, tiny: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "job")
    snapshot = make(tiny)
    torch.set_num_threads(2)
    checkpoints.save(TrainState(step=1), snapshot)
    torch.set_num_threads(1)
    checkpoints.restore(snapshot, Skipped())
    assert torch.get_num_threads() == 2


def test_a_lora_checkpoint_holds_the_adapter_alone(tmp_path: Path, tiny: Path) -> None:
    snapshot = make(tiny, "lora")
    Checkpoints(tmp_path, "job").save(TrainState(step=1), snapshot)
    trained = sum(p.numel() for p in snapshot.model.parameters() if p.requires_grad)
    size = (tmp_path / "step-1" / "model.safetensors").stat().st_size
    assert 4 * trained < size < 4 * trained + 10_000


def test_the_newest_two_and_the_best_are_kept(tmp_path: Path, tiny: Path) -> None:
    snapshot = make(tiny)
    checkpoints = Checkpoints(tmp_path, "job")
    kept = []
    for step, best in ((2, None), (4, 4), (6, 4), (8, 4), (10, 4), (12, 12)):
        state = TrainState(step=step, best=Best(1, best, 0.0, 0.0) if best else None)
        checkpoints.save(state, snapshot)
        kept.append(names(tmp_path))
    assert kept[3] == ["step-4", "step-6", "step-8"]
    assert kept[4] == ["step-10", "step-4", "step-8"]
    # step-10 goes back on step-4, so that it stays as long as step-10 does.
    assert kept[5] == ["step-10", "step-12", "step-4"]


def flip_a_bit(folder: Path, name: str) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def other_fields(folder: Path) -> None:
    """As a later version might write."""
    document = json.loads((folder / "state.json").read_text())
    document["state"]["new_field"] = 1
    (folder / "state.json").write_text(json.dumps(document))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "model": lambda folder: flip_a_bit(folder, "model.safetensors"),
    "optimiser": lambda folder: flip_a_bit(folder, "optimiser.safetensors"),
    "state": lambda folder: flip_a_bit(folder, "state.json"),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "torn manifest": lambda folder: (folder / "manifest.json").write_bytes(b'{"model'),
    "no file": lambda folder: (folder / "model.safetensors").unlink(),
    "no files": lambda folder: [path.unlink() for path in folder.iterdir()],
    "fields": other_fields,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_newest_falls_back_on_the_one_before(
    tmp_path: Path, tiny: Path, damage: Callable[[Path], object]
) -> None:
    snapshot = make(tiny)
    checkpoints = Checkpoints(tmp_path, "job")
    for step in (1, 2):
        checkpoints.save(TrainState(step=step), snapshot)
    damage(tmp_path / "step-2")
    skipped = Skipped()
    state = checkpoints.restore(snapshot, skipped)
    assert state is not None and state.step == 1
    assert len(skipped) == 1 and skipped[0].startswith("skipped checkpoint step-2: ")
    assert names(tmp_path) == ["step-1"]


def test_a_checkpoint_is_worth_nothing_without_its_best(tmp_path: Path, tiny: Path) -> None:
    snapshot = make(tiny)
    checkpoints = Checkpoints(tmp_path, "job")
    for step, best in ((1, None), (2, Best(1, 2, 0.0, 0.0)), (3, Best(1, 2, 0.0, 0.0))):
        checkpoints.save(TrainState(step=step, best=best), snapshot)
    flip_a_bit(tmp_path / "step-2", "model.safetensors")
    with pytest.raises(TrainingError, match="best weights' checkpoint is damaged"):
        checkpoints.restore_weights(snapshot, 2)
    skipped = Skipped()
    assert checkpoints.restore(snapshot, skipped) is None
    assert "its best, step-2, is damaged" in skipped[0]


def test_another_jobs_checkpoint_is_not_resumed(tmp_path: Path, tiny: Path) -> None:
    snapshot = make(tiny)
    Checkpoints(tmp_path, "other").save(TrainState(step=9), snapshot)
    skipped = Skipped()
    assert Checkpoints(tmp_path, "job").restore(snapshot, skipped) is None
    assert skipped == ["skipped checkpoint step-9: is of another job"]
    assert names(tmp_path) == []


def test_what_a_crash_leaves_is_tidied(tmp_path: Path, tiny: Path) -> None:
    """Killed between the two renames that replace a folder, the old one is the good one."""
    snapshot = make(tiny)
    checkpoints = Checkpoints(tmp_path, "job")
    checkpoints.save(TrainState(step=5), snapshot)
    (tmp_path / "step-5").rename(tmp_path / ".step-5.old")
    (tmp_path / ".step-5.tmp").mkdir()
    state = checkpoints.restore(snapshot, Skipped())
    assert state is not None and state.step == 5
    shutil.copytree(tmp_path / "step-5", tmp_path / ".step-5.old")
    checkpoints.restore(snapshot, Skipped())
    assert names(tmp_path) == ["step-5"]


def test_a_folder_without_checkpoints_is_a_fresh_start(tmp_path: Path, tiny: Path) -> None:
    snapshot = make(tiny, steps=0)
    assert Checkpoints(tmp_path / "none", "job").restore(snapshot, Skipped()) is None
