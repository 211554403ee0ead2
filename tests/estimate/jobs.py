"""Jobs to be estimated, and a server whose answers have known lengths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from mwalimu.config import Config, build_config
from mwalimu.data.dataset import open_dataset
from mwalimu.estimate import Estimate, estimate
from mwalimu.estimate.teacher_side import PlaceCost
from mwalimu.run import Run
from mwalimu.synthesis.generate import generate
from tests.synthesis.teacher_server import TeacherServer, completion

SERVED = {"model": "m", "base_url": "http://127.0.0.1:1/v1", "max_tokens": 10}
PRICES = {"usd_per_million_input": 2.0, "usd_per_million_output": 8.0}

Rows = Sequence[dict[str, Any]]


def write_rows(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_job(folder: Path, teacher: dict[str, Any], rows: Rows, **changes: Any) -> Config:
    """A job on `rows`; changes replace whole sections of its config."""
    write_rows(folder / "p.jsonl", rows)
    raw = {
        "task": "generic",
        "data": {"train": "p.jsonl"},
        "teacher": teacher,
        "student": {"model": "none", "method": "full"},
    }
    return build_config(raw | changes, base=folder)


def of_job(home: Path, config: Config, **options: Any) -> Estimate:
    return estimate(config, store=home / "answers", **options)


def place(found: Estimate, key: str = "teacher", stage: str = "generate") -> PlaceCost:
    return next(one for one in found.places if (one.key, one.stage) == (key, stage))


def prompts(count: int, length: int = 40) -> list[dict[str, Any]]:
    """Different prompts of `length` characters each."""
    return [{"prompt": f"{i:05d}".ljust(length, "x")} for i in range(count)]


def generate_rows(folder: Path, config: Config) -> dict[str, Any]:
    """Stage 1 as `mwalimu generate` does it; the ledger."""
    train = open_dataset(config.data.train, task=config.task, split="train")
    return generate(
        config,
        Run(folder / "run"),
        folder / "answers",
        train,
        None,
        stage_fingerprint="f",
        on_progress=lambda *_: None,
    )


def word_server(**options: Any) -> TeacherServer:
    """Answers in one token for each word of the prompt, which counts two."""

    def answer(prompt: str, count: int) -> web.Response:
        words = len(prompt.split())
        body = completion("word " * words)
        body["usage"] = {"prompt_tokens": 2 * words, "completion_tokens": words}
        return web.json_response(body)

    return TeacherServer(answer, **options)
