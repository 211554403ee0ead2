"""Every recipe still has its curve, and a change that matters would not have it.

Another CPU rounds otherwise. With the kernels for SSE4, AVX2 and AVX-512, one thread or two, padded
or packed, in one batch or sixteen, losses were within 5e-7 of each other and gradient norms within
3e-6; each of the changes below moves a loss by 100 tolerances and more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mwalimu.finetune import loader, task, trainer
from mwalimu.finetune.teaching import Teaching
from tests.golden import recipes
from tests.golden.recipes import RECIPES, Curve, curve, golden

TOLERANCE = {
    "loss": 1e-5,
    "validation_loss": 1e-5,
    "grad_norm": 1e-4,
    "learning_rate": 1e-12,
    "tokens": 0.0,
}
"""Relative, at every step."""


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def deviation(found: Curve, expected: Curve, column: str) -> float:
    pairs = zip(found[column], expected[column], strict=True)
    return max(abs(a - b) / abs(b) for a, b in pairs)


@pytest.mark.parametrize("packing", ["off", "on"])
@pytest.mark.parametrize("name", RECIPES)
def test_the_curve_is_the_golden_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, packing: str
) -> None:
    monkeypatch.setitem(recipes.SETTINGS, "packing", packing)
    found, expected = curve(name, tmp_path), golden(name)
    assert found.keys() == expected.keys() == TOLERANCE.keys()
    for column, tolerance in TOLERANCE.items():
        assert len(found[column]) == 20
        assert deviation(found, expected, column) <= tolerance, column


def encoded(change: Callable[[list[bool]], list[bool]]) -> Callable[[pytest.MonkeyPatch], None]:
    """What is learned of a row."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        real = task.encode_splits

        def changed(*arguments: Any) -> Any:
            return tuple(
                [replace(row, learned=bytes(change(row.labels_mask))) for row in rows]
                for rows in real(*arguments)
            )

        patch.setattr(task, "encode_splits", changed)

    return mutate


def collated(change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        real = loader.collate
        patch.setattr(loader, "collate", lambda *a, **options: change(real(*a, **options)))

    return mutate


def setting(**values: Any) -> Callable[[pytest.MonkeyPatch], None]:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        for name, value in values.items():
            patch.setitem(recipes.SETTINGS, name, value)

    return mutate


def part(key: str, value: float) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setitem(recipes.PARTS[0], key, value)


def mean_of_batches(patch: pytest.MonkeyPatch) -> None:
    real = Teaching.__call__

    def averaged(teaching: Any, batch: Any, scale: float, *rest: Any) -> Any:
        return real(teaching, batch, 1 / 4 / batch.labels_N.numel(), *rest)

    patch.setattr(Teaching, "__call__", averaged)


def a_step_late(patch: pytest.MonkeyPatch) -> None:
    real = trainer.learning_rate
    patch.setattr(
        trainer, "learning_rate", lambda step, total, config: real(max(0, step - 1), total, config)
    )


def vectors_decay(patch: pytest.MonkeyPatch) -> None:
    real = trainer.build_optimiser

    def build(named: Any, config: Any) -> Any:
        optimiser = real(named, config)
        for group in optimiser.param_groups:
            group["weight_decay"] = config.weight_decay
        return optimiser

    patch.setattr(trainer, "build_optimiser", build)


MUTATIONS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "the prompt is learned": encoded(lambda mask: [True] * len(mask)),
    "the end of turn is not": encoded(lambda mask: [*mask[:-1], False]),
    "no shift": collated(lambda batch: replace(batch, positions_N=batch.positions_N + 1)),
    "labels of the next place": collated(lambda b: replace(b, labels_N=b.labels_N.roll(1))),
    "the mean of batches' means": mean_of_batches,
    "no warm-up": setting(warmup_ratio=0.0),
    "a rate that comes a step late": a_step_late,
    "no decay": setting(weight_decay=0.0),
    "vectors decay too": vectors_decay,
    "no clipping": setting(max_grad_norm=1e9),
    "teacher: another temperature": part("temperature", 1.9),
    "teacher: another weight": part("weight", 0.69),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_change_that_matters_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    MUTATIONS[name](monkeypatch)
    recipe = "cached_top_k" if name.startswith("teacher") else "text_full"
    found, expected = curve(recipe, tmp_path), golden(recipe)
    assert deviation(found, expected, "loss") > 100 * TOLERANCE["loss"]
