"""The job: rows of the conversations, and the distill.yaml that the stages run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from conversations import generate_conversations
from teacher import CONTEXT, shipped

from mwalimu.config import Config, load_config
from mwalimu.files import atomic_writer
from mwalimu.quickstart.job import FINETUNE, write_jsonl

TRAIN_ROWS, VALIDATION_ROWS, TEST_ROWS = 50_000, 300, 2_000
EPOCHS = 4
MAX_ANSWER = 48
STUDENT_EXPORT = "onnx-int4"


def write_job(folder: Path, teacher: Path, *, rows: int, test_rows: int, epochs: int) -> Config:
    """Writes `data/` and `distill.yaml` under `folder`; the same bytes each time, so runs resume.

    The teacher is asked `rows` prompts; only the test rows keep their gold answers.
    """
    few = min(VALIDATION_ROWS, rows // 4)
    prompts = [_asked(row) for row in generate_conversations("train", rows)]
    validation = [_asked(row) for row in generate_conversations("validation", few)]
    write_jsonl(folder / "data" / "train.jsonl", prompts)
    write_jsonl(folder / "data" / "validation.jsonl", validation)
    write_jsonl(folder / "data" / "test.jsonl", generate_conversations("test", test_rows))
    with atomic_writer(folder / "distill.yaml") as handle:
        handle.write(yaml.safe_dump(_settings(teacher, epochs), sort_keys=False).encode())
    return load_config(folder / "distill.yaml")


def _asked(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"messages": row["messages"][:-1]}


def _settings(teacher: Path, epochs: int) -> dict[str, Any]:
    return {
        "task": "conversation",
        "data": {split: f"data/{split}.jsonl" for split in ("train", "validation", "test")},
        "teacher": {"model": str(teacher.resolve()), "max_tokens": MAX_ANSWER, "batch_size": 128},
        "student": {"model": str(shipped("student")), "method": "full", "max_length": CONTEXT},
        "prepare": {"overlap": "off"},  # the rows of a generated world share their sentences
        "generate": {"min_ok": 0.9},
        "finetune": FINETUNE | {"epochs": epochs, "patience": epochs},
        "evaluate": {
            "arms": ["teacher", "distilled"],
            "max_tokens": MAX_ANSWER,
            "batch_size": 128,
            "likelihood": False,
        },
        "export": {"targets": [{"to": "onnx", "precision": "int4"}], "threads": 1, "slots": 8},
    }
