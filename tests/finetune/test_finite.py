"""A NaN or an infinity, wherever and whenever it turns up, is neither published nor saved."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from mwalimu.errors import TrainingError
from mwalimu.finetune.snapshot import first_not_finite
from mwalimu.finetune.teaching import Teaching
from mwalimu.finetune.trainer import Trainer
from tests.figures import record
from tests.finetune.jobs import metrics, sums, train, weights

INJECTIONS = 50 if os.environ.get("MWALIMU_LONG") else 20
STEPS = 8
JOB: dict[str, Any] = {"rows": sums(32), "validation": sums(8, seed=1), "save_every": 3}


class Injection(NamedTuple):
    """`value` at a random place of `trainer` when the optimiser step `at` is over."""

    trainer: Trainer
    rng: random.Random
    value: float
    at: int

    def spoil(self, tensor: torch.Tensor) -> None:
        with torch.no_grad():
            tensor.view(-1)[self.rng.randrange(tensor.numel())] = self.value

    def one_of(self, tensors: Any) -> torch.Tensor:
        chosen: torch.Tensor = self.rng.choice(list(tensors))
        return chosen

    def later(self, act: Callable[[], None]) -> None:
        real = self.trainer.report

        def report(step: int, total: int, note: str) -> None:
            real(step, total, note)
            if total and step == self.at:
                act()

        self.trainer.report = report


def a_weight(injection: Injection) -> None:
    learned = [p for p in injection.trainer.model.parameters() if p.requires_grad]
    injection.later(lambda: injection.spoil(injection.one_of(learned)))


def a_moment(injection: Injection) -> None:
    def act() -> None:
        states = injection.trainer.optimiser.state.values()
        name = injection.rng.choice(["exp_avg", "exp_avg_sq"])
        injection.spoil(injection.one_of(state[name] for state in states))

    injection.later(act)


def a_buffer(injection: Injection) -> None:
    norm = injection.trainer.model.get_submodule("model.norm")
    norm.register_buffer("seen", torch.zeros(4))
    injection.later(lambda: injection.spoil(norm.seen))


def a_gradient(injection: Injection) -> None:
    learned = [p for p in injection.trainer.model.parameters() if p.requires_grad]

    def after(parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        if injection.trainer.state.step == injection.at - 1:
            injection.spoil(parameter.grad)

    injection.one_of(learned).register_post_accumulate_grad_hook(after)  # type: ignore[attr-defined]


def a_loss(injection: Injection) -> None:
    teaching = injection.trainer.teaching

    class Spoilt(Teaching):
        def __call__(self, *arguments: Any) -> Any:
            term = super().__call__(*arguments)
            if injection.trainer.state.step == injection.at - 1 and torch.is_grad_enabled():
                return term._replace(loss=term.loss * injection.value)
            return term

    teaching.__class__ = Spoilt


def a_published_weight(injection: Injection) -> None:
    """After the last checkpoint: of a full model, or of the base that an adapter is merged into."""
    trainer = injection.trainer
    real = trainer._take_best

    def take_best() -> None:
        real()
        injection.spoil(injection.one_of(trainer.model.parameters()))

    trainer._take_best = take_best  # type: ignore[method-assign]


KINDS: dict[str, tuple[str, Callable[[Injection], None]]] = {
    "weight": ("full", a_weight),
    "moment": ("full", a_moment),
    "buffer": ("full", a_buffer),
    "gradient": ("full", a_gradient),
    "loss": ("full", a_loss),
    "adapter": ("lora", a_weight),
    "adapter's gradient": ("lora", a_gradient),
    "adapter's moment": ("lora", a_moment),
    "published weight": ("full", a_published_weight),
    "merged weight": ("lora", a_published_weight),
}


@pytest.mark.parametrize("name", KINDS)
def test_no_injection_is_published_or_saved(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    method, inject = KINDS[name]
    train(tiny, tmp_path / "whole", method=method, **JOB)
    real = Trainer.__init__
    for number in range(INJECTIONS // len(KINDS)):
        rng = random.Random(f"{name} {number}")
        value, at = rng.choice([math.nan, math.inf, -math.inf]), rng.randrange(1, STEPS + 1)

        def injected(trainer: Trainer, *rest: Any, rng=rng, value=value, at=at) -> None:  # type: ignore[no-untyped-def]
            real(trainer, *rest)
            inject(Injection(trainer, rng, value, at))

        folder = tmp_path / str(number)
        monkeypatch.setattr(Trainer, "__init__", injected)
        with pytest.raises(TrainingError, match="not finite"):
            train(tiny, folder, method=method, **JOB)
        assert not (folder / "student").exists() and not (folder / "trained.json").exists()
        for path in (folder / "checkpoints").glob("step-*/*.safetensors"):
            assert first_not_finite(load_file(path)) is None, path
        assert all(math.isfinite(line["loss"]) for line in metrics(folder) if "loss" in line)
    monkeypatch.undo()
    train(tiny, folder, method=method, **JOB)  # what was saved before is good to go on from
    assert weights(folder) == weights(tmp_path / "whole")
    record("R12", name, tried=INJECTIONS // len(KINDS), seed=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_bad_number_is_found_wherever_it_is(dtype: torch.dtype, value: float) -> None:
    good = {"a": torch.randn(3, 7), "ids": torch.arange(4), "none": torch.empty(0)}
    assert first_not_finite(good) is None
    for place in range(40):
        bad = torch.randn(5, 8, dtype=dtype)
        bad.view(-1)[place] = value
        assert first_not_finite({**good, "bad": bad, "later": bad}) == "bad"
