"""Small training jobs on sums, shared by the tests and by the processes that they kill."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.finetune.finetune import train_student
from mwalimu.finetune.teacher.white_box import WhiteBox

BY_THE_CLOCK = {"seconds", "tokens_per_second", "mfu", "peak_memory_mib"}
SETTINGS = {"learning_rate": 3e-3, "batch_size": 8, "epochs": 2, "save_every": 4}


def sums(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Chats such as "3+4" -> "7", of different lengths."""
    rng = random.Random(seed)
    numbers = [(rng.randrange(10 ** rng.randrange(1, 6)), rng.randrange(20)) for _ in range(count)]
    return [chat(f"{seed}-{i}", f"{a}+{b}", str(a + b)) for i, (a, b) in enumerate(numbers)]


def chat(row_id: str, question: str, answer: str) -> dict[str, Any]:
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]
    return {"id": row_id, "task": "generic", "messages": messages}


def settings(**changes: Any) -> FinetuneConfig:
    return FinetuneConfig.model_validate(SETTINGS | changes)


def student(model: Path, **changes: Any) -> StudentConfig:
    values = {"model": str(model), "method": "full", "max_length": 64}
    return StudentConfig.model_validate(values | changes)


def train(
    model: Path,
    folder: Path,
    *,
    rows: list[dict[str, Any]] | None = None,
    validation: list[dict[str, Any]] | None = None,
    method: str = "full",
    dropout: float = 0.0,
    stage: str = "stage",
    white_box: WhiteBox | None = None,
    on_progress: Any = lambda *_: None,
    **changes: Any,
) -> dict[str, Any]:
    return train_student(
        student(model, method=method, lora_dropout=dropout),
        settings(**changes),
        sums(64) if rows is None else rows,
        validation,
        folder,
        seed=3,
        stage_fingerprint=stage,
        on_progress=on_progress,
        white_box=white_box,
    )


def weights(folder: Path) -> bytes:
    return (folder / "student" / "model.safetensors").read_bytes()


def metrics(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def untimed(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what the clock and the machine say."""
    return [{k: v for k, v in line.items() if k not in BY_THE_CLOCK} for line in metrics(folder)]


def steps_of(folder: Path) -> list[int]:
    return [line["step"] for line in metrics(folder) if "loss" in line]


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())
