"""Early warnings: said when they should be, once, and never of a training that goes well."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from mwalimu.finetune.watching.signs import AGAIN, Sign, Signs
from tests.finetune.jobs import chat, metrics, train


class Course:
    """Signs, and all that they said by step."""

    def __init__(self, total: int = 1000, warmup: int = 10) -> None:
        self.signs = Signs({}, warmup=warmup, total=total)
        self.said: list[tuple[int, str]] = []
        self.texts: list[str] = []

    def keep(self, step: int, found: list[Sign]) -> None:
        self.said += [(step, sign.kind) for sign in found]
        self.texts += [sign.text for sign in found]

    def steps(self, losses: list[float], norms: list[float] | None = None, first: int = 1) -> None:
        for i, loss in enumerate(losses):
            norm = norms[i] if norms else 1.0
            self.keep(first + i, self.signs.step(first + i, loss, norm))

    def validations(self, losses: list[float], train_loss: float = 1.0) -> None:
        for i, loss in enumerate(losses):
            best = 100 * (losses.index(min(losses[: i + 1])) + 1)
            step = 100 * (i + 1)
            self.keep(step, self.signs.validation(step, loss, best=best, train_loss=train_loss))


def noisy(rng: random.Random, middle: float) -> float:
    return middle * math.exp(rng.gauss(0, 0.15))


@pytest.mark.parametrize("seed", range(20))
def test_a_healthy_noisy_training_hears_nothing(seed: int) -> None:
    """1,000 steps from 3 nats to 1, batches that differ by 15 %, norms by 50 %."""
    rng, course = random.Random(seed), Course()
    losses = [noisy(rng, 1 + 2 * math.exp(-step / 200)) for step in range(1000)]
    norms = [math.exp(rng.gauss(0, 0.5)) for _ in losses]
    course.steps(losses, norms)
    course.validations([1.4, 1.2, 1.25, 1.1, 1.12, 1.15, 1.09], train_loss=1.05)
    for epoch, loss in enumerate((1.9, 1.3, 1.1), 1):
        course.keep(epoch, course.signs.epoch(epoch, epoch, loss))
    assert course.said == []


def test_three_rises_in_a_row_name_the_best_step() -> None:
    course = Course()
    course.validations([1.3, 1.2, 1.25, 1.24, 1.26, 1.27, 1.28, 1.29])
    assert course.said == [(700, "validation_rises")]
    assert course.texts[0].startswith(
        "validation loss has risen for 3 evaluations; best was step 200, which is what"
    )


def test_learning_by_heart_is_told_once() -> None:
    course = Course()
    course.validations([1.2, 1.6, 1.7], train_loss=0.4)
    assert course.said == [(100, "over_fitting")]
    assert "training loss (0.4) is far under the validation loss (1.2)" in course.texts[0]
    few = Course()
    few.validations([0.02], train_loss=0.01)  # hardly a tenth of a nat
    assert few.said == []


def test_a_jump_of_the_loss_is_told_once_in_a_while() -> None:
    rng, course = random.Random(0), Course(total=3000)
    losses = [noisy(rng, 2.0) / (1 + step / 500) for step in range(1, AGAIN + 301)]
    for start in (100, 180, 100 + AGAIN):
        losses[start - 1 : start + 5] = [20.0] * 6
    course.steps(losses)
    assert course.said == [(104, "loss_jump"), (104 + AGAIN, "loss_jump")]
    assert "the loss has jumped to 20 by step 104, above each of the steps" in course.texts[0]


@pytest.mark.parametrize("seed", range(10))
def test_batches_that_differ_by_orders_of_magnitude_are_no_sign(seed: int) -> None:
    """As at the end of a training whose rows are nearly all known: most losses are near nothing."""
    rng, course = random.Random(seed), Course(total=3000)
    losses = [math.exp(rng.gauss(0, 1.5)) / (1 + step / 20) for step in range(2000)]
    course.steps(losses, [0.1 * loss for loss in losses])
    assert not {"loss_jump", "gradients_grow"} & {kind for _, kind in course.said}


def test_growing_gradients_are_told_before_the_loss_is_lost() -> None:
    rng, course = random.Random(0), Course()
    norms = [math.exp(rng.gauss(0, 0.3)) for _ in range(60)]
    norms += [math.exp(0.35 * i + rng.gauss(0, 0.3)) for i in range(30)]
    losses = [noisy(rng, 2.0 - step / 100) for step in range(90)]
    course.steps(losses, norms)
    assert [kind for _, kind in course.said] == ["gradients_grow"]
    assert 60 < course.said[0][0] < 80
    single = Course()
    single.steps(losses[:60], [*norms[:30], 500.0, *norms[31:60]])  # one that is clipped
    assert single.said == []


def test_a_loss_that_does_not_fall_is_told_after_the_warm_up() -> None:
    rng, course = random.Random(0), Course(total=400, warmup=20)
    course.steps([2.3 + rng.gauss(0, 0.01) for _ in range(300)])
    assert course.said == [(120, "loss_flat")]
    assert "'mwalimu lr' finds one" in course.texts[0]


def test_an_epoch_no_better_than_the_one_before() -> None:
    course = Course()
    for epoch, loss in enumerate((1.5, 1.2, 1.21, 1.3), 1):
        course.keep(epoch, course.signs.epoch(epoch, epoch * 10, loss))
    assert course.said == [(3, "no_progress")]
    assert (
        "the loss of epoch 3 (1.21) is no lower than that of the one before (1.2)"
        in (course.texts[0])
    )


def test_what_is_remembered_goes_through_json_at_any_step() -> None:
    rng = random.Random(1)
    losses = [30.0 if step % 90 < 6 else noisy(rng, 2.0) for step in range(6, 700)]
    whole = Course(total=2000)
    whole.steps(losses)
    memory: dict[str, Any] = {}
    said: list[tuple[int, str]] = []
    for step, loss in enumerate(losses, 1):
        memory = json.loads(json.dumps(memory))
        signs = Signs(memory, warmup=10, total=2000)
        said += [(step, sign.kind) for sign in signs.step(step, loss, 1.0)]
    assert said == whole.said != []


def test_a_training_that_learns_by_heart_says_so_everywhere(tmp_path: Path, tiny: Path) -> None:
    rows = [chat(str(i), f"{i}", "right") for i in range(10)]
    validation = [chat(str(i), f"{i}", "wrong") for i in range(10)]
    said: list[tuple[int, str]] = []
    summary = train(
        tiny,
        tmp_path,
        rows=rows,
        validation=validation,
        learning_rate=0.02,
        batch_size=10,
        epochs=40,
        patience=4,
        on_progress=lambda _stage, _done, total, note: said.append((total, note)),
    )
    events = {line["event"]: line for line in metrics(tmp_path) if "event" in line}
    assert {"validation_rises", "over_fitting", "stopped_early"} <= events.keys()
    assert summary["warnings"] == [x["text"] for x in metrics(tmp_path) if "event" in x]
    for line in events.values():
        assert said.count((0, line["text"])) == 1
    best = summary["best_step"]
    assert f"best was step {best}" in events["validation_rises"]["text"]
    assert events["stopped_early"]["text"] == (
        f"stops early: no better validation loss in 4 evaluations; best was step {best}"
    )
