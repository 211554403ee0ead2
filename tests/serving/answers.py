"""A student's answers and a job, for tests of what stands behind the server."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mwalimu.config import Config, build_config
from mwalimu.serving.completion import Completion


def student_says(text: str = "student", *, sure: float = 0.1, reason: str = "stop") -> Completion:
    return Completion([7], text, reason, [math.log(sure)])


def asks(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def job(folder: Path, **teacher: Any) -> Config:
    raw = {
        "task": "generic",
        "data": {"train": "train.jsonl"},
        "teacher": {"model": "fake"} | teacher,
        "student": {"model": "none"},
    }
    return build_config(raw, base=folder)


PRICED = {
    "model": "big",
    "base_url": "http://127.0.0.1:9/v1",
    "usd_per_million_input": 0.0,
    "usd_per_million_output": 1_000_000.0,
    "max_tokens": 10,
}
"""A dollar a token of the answer, of which there are ten at most."""
