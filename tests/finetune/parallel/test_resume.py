"""One of several processes is killed or told to stop: what is on disk is whole, and goes on."""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.finetune.jobs import checkpoints, metrics, sums, train, untimed, weights
from tests.finetune.parallel.ranks import Ranks, on_ranks
from tests.finetune.parallel.work import Job, notes_of, train_each, train_until

# Dropout draws from each process's own generator.
JOB: Job = {
    "rows": sums(48),
    "validation": sums(8, seed=1),
    "batch_size": 4,
    "accumulation": 2,
    "save_every": 2,
    "method": "lora",
    "dropout": 0.2,
}
WAYS = ("ddp", "fsdp")
LOST = "TrainingError: finetune: another process of this training ended"


def job(way: str, **changes: Any) -> Job:
    return {**JOB, "parallel": way, **changes}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By way: what two processes make that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    jobs = {way: (tiny, folder / way, job(way)) for way in WAYS}
    jobs |= {f"{way} plain": (tiny, folder / f"{way} plain", job(way, dropout=0.0)) for way in WAYS}
    on_ranks(2, train_each, jobs)
    return folder


def stop(
    tiny: Path, folder: Path, job: Job, victim: int, how: str, step: int, *, size: int = 2
) -> Ranks:
    ranks = Ranks(size, train_until, tiny, folder, job, victim, how, step)
    for rank in range(size):
        ranks.ended(rank)
    return ranks


@pytest.mark.parametrize("way", WAYS)
def test_killed_again_and_again_they_end_with_the_same_bytes(
    tiny: Path, whole: Path, tmp_path: Path, way: str
) -> None:
    for victim, how, step in ((1, "SIGKILL", 5), (0, "SIGKILL", 7), (1, "save", 8)):
        ranks = stop(tiny, tmp_path, job(way), victim, how, step)
        assert ranks.ended(victim) == -signal.SIGKILL
        assert ranks.result(1 - victim).startswith(LOST)
        last = step - 2 if how == "save" else step - step % 2
        assert f"step-{last}" in checkpoints(tmp_path) and f"step-{step}" not in checkpoints(
            tmp_path
        )
    parts = {path.name for path in (tmp_path / "checkpoints" / "step-6").iterdir()}
    assert parts >= {"model-00001-of-00002.safetensors", "optimiser-00002-of-00002.safetensors"}
    on_ranks(2, train_each, {way: (tiny, tmp_path, job(way))})
    assert weights(tmp_path) == weights(whole / way)
    assert untimed(tmp_path) == untimed(whole / way)


@pytest.mark.parametrize("way", WAYS)
def test_what_stops_one_stops_all_after_the_same_step(
    tiny: Path, whole: Path, tmp_path: Path, way: str
) -> None:
    ranks = stop(tiny, tmp_path, job(way, save_every=99), 1, "SIGTERM", 5)
    assert [ranks.result(rank) for rank in (0, 1)] == ["KeyboardInterrupt: "] * 2
    assert "step-5" in checkpoints(tmp_path)
    on_ranks(2, train_each, {way: (tiny, tmp_path, job(way))})
    assert weights(tmp_path) == weights(whole / way)


@pytest.mark.parametrize("way", WAYS)
def test_a_checkpoint_opens_in_a_world_of_another_size_and_way(
    tiny: Path, whole: Path, tmp_path: Path, way: str
) -> None:
    """Without dropout: another number of processes draws other units."""
    two = job(way, dropout=0.0)
    stop(tiny, tmp_path / "two", two, 1, "SIGKILL", 7)
    shutil.copytree(tmp_path / "two", tmp_path / "one")
    other = next(name for name in WAYS if name != way)
    seen: list[str] = []
    train(tiny, tmp_path / "one", **two, on_progress=lambda *call: seen.append(call[-1]))
    assert "goes on from step 6" in seen
    # From one process back to two, the other way.
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "back", **two, on_progress=_stop_at_7)
    on_ranks(
        2,
        train_each,
        {
            "other way": (tiny, tmp_path / "two", {**two, "parallel": other}),
            "back": (tiny, tmp_path / "back", {**two, "parallel": other}),
        },
    )
    for name in ("one", "two", "back"):
        assert_alike(tmp_path / name, whole / f"{way} plain")


@pytest.mark.parametrize("way", WAYS)
def test_of_four_one_is_killed_then_of_two_one_and_the_last_goes_on_alone(
    tiny: Path, tmp_path: Path, way: str
) -> None:
    """To the losses of one process that nobody disturbed."""
    plain = job(way, dropout=0.0)
    train(tiny, tmp_path / "alone", **plain)
    folder = tmp_path / "fewer"
    for size, victim, step in ((4, 2, 5), (2, 0, 9)):
        ranks = stop(tiny, folder, plain, victim, "SIGKILL", step, size=size)
        assert ranks.ended(victim) == -signal.SIGKILL
        for rank in {*range(size)} - {victim}:
            assert ranks.result(rank).startswith(LOST)
        parts = folder / "checkpoints" / f"step-{step - 1}"
        assert len(list(parts.glob("optimiser-*"))) == size
    seen: list[str] = []
    train(tiny, folder, **plain, on_progress=lambda *call: seen.append(call[-1]))
    assert "goes on from step 8" in seen
    assert_alike(folder, tmp_path / "alone")


def assert_alike(folder: Path, expected: Path) -> None:
    """Losses to 1e-5 of themselves, weights to 1e-4 of the largest of their tensor."""
    found = load_file(folder / "student" / "model.safetensors")
    for key, tensor in load_file(expected / "student" / "model.safetensors").items():
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=1e-4 * tensor.abs().max())
    losses, plain = (
        [line["loss"] for line in metrics(one) if "loss" in line] for one in (folder, expected)
    )
    assert losses == pytest.approx(plain, rel=1e-5)


def _stop_at_7(_label: str, done: int, _total: int, note: str) -> None:
    if done == 7 and "loss" in note:
        signal.raise_signal(signal.SIGINT)


def test_a_part_that_is_damaged_is_told_and_costs_steps_but_no_bit(
    tiny: Path, whole: Path, tmp_path: Path
) -> None:
    stop(tiny, tmp_path, job("fsdp"), 1, "SIGKILL", 5)
    part = tmp_path / "checkpoints" / "step-4" / "model-00002-of-00002.safetensors"
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    main, other = on_ranks(2, notes_of, tiny, tmp_path, job("fsdp"))
    skipped = f"skipped checkpoint step-4: is damaged, the hash of {part.name} does not fit"
    assert skipped in main and "goes on from step 2" in main and other == []
    assert weights(tmp_path) == weights(whole / "fsdp")
