"""The embedded job: the support-desk world's rows and a distill.yaml over the shipped teacher."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from mwalimu.files import atomic_writer
from mwalimu.quickstart.rows import generate_rows

ROWS = {"train": 13000, "validation": 300, "test": 600, "labelled": 150}
FINETUNE = {
    # Small steps: so tiny a student loses a point or two to a few odd batches.
    "learning_rate": 2.5e-3,
    "max_grad_norm": 0.25,
    "batch_size": 16,
    "epochs": 11,
    "warmup_ratio": 0.03,
    "weight_decay": 0.2,
    "adam_beta2": 0.98,
    "patience": 11,
    "save_every": 1000,
    # So small a student is graded by its first choice: the teacher's doubts thin its margins.
    "objective": "cross_entropy",
}
LABELLED_EPOCHS = 40  # the baseline has few rows: as many steps as it can use


def write_job(folder: Path, *, rows: dict[str, int] | None = None, seed: int = 0) -> Path:
    """Writes the data files and distill.yaml; the same bytes every time, so a rerun resumes."""
    for split, count in (rows or ROWS).items():
        write_jsonl(folder / "data" / f"{split}.jsonl", split_rows(split, count, seed))
    config = folder / "distill.yaml"
    with atomic_writer(config) as handle:
        handle.write(yaml.safe_dump(job_config(seed), sort_keys=False).encode())
    return config


def split_rows(split: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of one split; what the teacher is to answer loses its gold answer."""
    rows = generate_rows(split, count, seed)  # type: ignore[arg-type]  # the keys of ROWS are splits
    if split in ("train", "validation"):
        return [row | {"messages": row["messages"][:-1]} for row in rows]
    return rows


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with atomic_writer(path) as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def job_config(seed: int) -> dict[str, Any]:
    shipped, config = files("mwalimu.quickstart"), settings(seed)
    return config | {
        "data": {split: f"data/{split}.jsonl" for split in ROWS},
        "teacher": {"model": str(shipped / "teacher"), **config["teacher"]},
        "student": {"model": str(shipped / "student"), **config["student"]},
    }


def settings(seed: int) -> dict[str, Any]:
    """The job but for where its files and models are."""
    return {
        "task": "generic",
        "seed": seed,
        "data": {},
        "teacher": {"max_tokens": 64, "batch_size": 128},
        "student": {"method": "full", "max_length": 256},
        "prepare": {"overlap": "off"},  # the rows of a generated world share their sentences
        "generate": {"min_ok": 0.9},
        "finetune": FINETUNE,
        "evaluate": {
            "max_tokens": 64,
            "batch_size": 128,
            "labelled_epochs": LABELLED_EPOCHS,
        },
    }
