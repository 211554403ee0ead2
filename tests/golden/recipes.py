"""Three trainings whose every loss follows from mathematics alone.

A step takes all rows, so that neither their order nor how they are put into batches has a part in
it; nothing is drawn but the first weights, by torch's own generator on the CPU. So a curve changes
where the loss, the gradient, the schedule or the optimiser does, and hardly else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mwalimu.finetune.teacher.white_box import WhiteBox
from tests.finetune.jobs import metrics, sums, train
from tests.finetune.taught import captured, config_of, make_pair

FOLDER = Path(__file__).parent
ROWS, VALIDATION = sums(16), sums(6, seed=1)
SETTINGS: dict[str, Any] = {
    "rows": ROWS,
    "validation": VALIDATION,
    "epochs": 20,
    "batch_size": 4,
    "accumulation": 4,
    "warmup_ratio": 0.2,
    "weight_decay": 0.1,
    "max_grad_norm": 1.0,
    "patience": 99,
    "learning_rate": 3e-3,
}
PARTS: list[dict[str, Any]] = [
    {"kind": "forward_kl", "weight": 0.7, "temperature": 2.0},
    {"kind": "cross_entropy", "weight": 0.3},
]
Curve = dict[str, list[float]]
COLUMNS = ("loss", "grad_norm", "learning_rate", "tokens")


def text_full(folder: Path) -> None:
    """All weights, the answers as text."""
    train(make_pair(folder / "models").student, folder / "job", **SETTINGS)


def text_lora(folder: Path) -> None:
    """An adapter on a frozen base."""
    student = make_pair(folder / "models").student
    train(student, folder / "job", **SETTINGS | {"method": "lora", "learning_rate": 1e-2})


def cached_top_k(folder: Path) -> None:
    """A wider teacher's eight most probable tokens from disk, at temperature 2, and the text."""
    pair = make_pair(folder / "models")
    config = config_of(pair, PARTS, signals={"encoding": "topk", "k": 8})
    run = captured(folder / "run", config, ROWS, VALIDATION)
    objective = [part.model_dump() for part in config.finetune.objective]
    taught = {"objective": objective, "white_box": WhiteBox.of(config, run)}
    train(pair.student, folder / "job", **SETTINGS | taught)


RECIPES: dict[str, Callable[[Path], None]] = {
    "text_full": text_full,
    "text_lora": text_lora,
    "cached_top_k": cached_top_k,
}


def curve(name: str, folder: Path) -> Curve:
    """What recipe `name` says at each of its 20 steps and validations, by column."""
    RECIPES[name](folder)
    lines = metrics(folder / "job")
    steps = [line for line in lines if "loss" in line]
    losses = [line["validation_loss"] for line in lines if "validation_loss" in line]
    found = {column: [line[column] for line in steps] for column in COLUMNS}
    return found | {"validation_loss": losses}


def golden(name: str) -> Curve:
    return dict(json.loads((FOLDER / f"{name}.json").read_text()))
