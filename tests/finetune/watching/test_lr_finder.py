"""The range test finds the edge of a loss that is known, and leaves no trace."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mwalimu.config import Config
from mwalimu.errors import NonFiniteLoss, OutOfMemory
from mwalimu.finetune.finetune import find_learning_rate
from mwalimu.finetune.watching.lr_finder import range_test
from tests.finetune.jobs import metrics, sums, train, weights
from tests.finetune.test_finetune import Calls, make_config, make_run
from tests.finetune.test_memory import MESSAGES
from tests.finetune.test_trainer import make_trainer


def trainer_of(loss_of: Callable[[float], float]) -> Any:
    """A trainer whose loss is a function of the rate alone."""

    def update(_batches: object, rate: float) -> SimpleNamespace:
        return SimpleNamespace(loss=loss_of(rate))

    return SimpleNamespace(
        job=SimpleNamespace(seed=0, settings=None),
        model=torch.nn.Linear(1, 1),
        lengths=[1],
        snapshot=SimpleNamespace(untouched=nullcontext),
        epoch_steps=lambda: [[[]]],
        ready=lambda batches: batches,
        update=update,
        report=lambda *_: None,
    )


def test_the_edge_of_a_known_loss_is_found() -> None:
    """Falls from 3 nats to 1 around 1e-4, and explodes above 1e-2."""
    found = range_test(
        trainer_of(lambda rate: 1 + 2 / (1 + (rate / 1e-4) ** 2) + math.expm1(rate / 1e-2))
    )
    lowest = found.rates[found.losses.index(min(found.losses))]
    assert 1e-3 < lowest < 2e-2 and found.ran_away and found.rates[-1] < 0.2
    assert found.suggestion == pytest.approx(lowest / 10, rel=0.05)
    assert found.in_words.endswith(f"set finetune.learning_rate to {found.suggestion:.1e}")
    assert "falls from 3 to 1." in found.in_words and "runs away at" in found.in_words


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    found = range_test(trainer_of(lambda rate: 2.0 + rate))
    assert found.suggestion is None and not found.ran_away
    assert found.in_words.startswith("the loss never falls: it is 2 at a rate of 1.0e-07 and 2.")


def test_a_loss_that_is_lost_ends_the_test() -> None:
    def loss(rate: float) -> float:
        if rate > 1e-3:
            raise NonFiniteLoss("not finite")
        return 1 / (1 + rate * 1e5)

    found = range_test(trainer_of(loss))
    assert found.ran_away and found.rates[-1] <= 1e-3


def test_the_trainer_is_afterwards_as_it_was(tmp_path: Path, tiny: Path) -> None:
    trainer = make_trainer(tiny, tmp_path)
    before = {n: t.clone() for n, t in trainer.model.state_dict().items()}
    generator = torch.get_rng_state()
    found = range_test(trainer)
    assert min(found.losses) < 0.6 * found.losses[0]
    assert all(torch.equal(t, before[n]) for n, t in trainer.model.state_dict().items())
    assert not trainer.optimiser.state and torch.equal(generator, torch.get_rng_state())
    assert trainer.state.step == 0 and list(tmp_path.iterdir()) == []
    fresh = make_trainer(tiny, tmp_path / "fresh")
    for one in (trainer, fresh):
        one.fit()
    assert all(map(torch.equal, trainer.model.parameters(), fresh.model.parameters()))


def test_out_of_memory_is_told_here_too(tmp_path: Path, tiny: Path) -> None:
    trainer = make_trainer(tiny, tmp_path)

    def fail(*_: object) -> None:
        raise MESSAGES["cuda"]

    trainer.teaching = fail  # type: ignore[assignment]
    with pytest.raises(OutOfMemory, match=r"finetune\.batch_size to 4"):
        range_test(trainer)


@pytest.fixture
def job(tmp_path: Path, tiny: Path) -> tuple[Config, Any]:
    run = make_run(tmp_path / "run", train=sums(64), validation=sums(8, seed=1))
    return make_config(tmp_path, tiny), run


def test_the_suggestion_is_a_rate_that_trains(tmp_path: Path, tiny: Path, job: Any) -> None:
    config, run = job
    calls = Calls()
    found = find_learning_rate(config, run, on_progress=calls)
    written = json.loads(run.path("finetune", "lr_finder.json").read_text())
    assert written["suggestion"] == found.suggestion and written["in_words"] == found.in_words
    assert [path.name for path in run.path("finetune").iterdir()] == ["lr_finder.json"]
    assert {call[0] for call in calls} == {"learning rate"}

    def reached(rate: float) -> float:
        folder = tmp_path / f"{rate}"
        train(tiny, folder, learning_rate=rate, warmup_ratio=0.0)
        return float(metrics(folder)[-1]["loss"])

    assert found.suggestion is not None
    losses = [reached(found.suggestion * by) for by in (0.01, 1, 300)]
    assert losses[1] < losses[0] and losses[1] < losses[2]


def test_a_training_under_way_is_left_alone(tmp_path: Path, tiny: Path, job: Any) -> None:
    config, run = job
    folder = run.path("finetune")
    train(tiny, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        from tests.finetune.test_resume import interrupt_at

        train(tiny, folder, on_progress=interrupt_at(6))
    find_learning_rate(config, run, on_progress=Calls())
    seen = Calls()
    train(tiny, folder, on_progress=seen)
    assert "goes on from step 6" in seen.notes
    assert weights(folder) == weights(tmp_path / "whole")
