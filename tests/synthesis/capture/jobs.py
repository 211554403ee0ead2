"""Jobs of the quickstart's teacher, whose answers end, and its rows with gold answers."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch

from mwalimu.config import Config, build_config
from mwalimu.data.examples import Example
from mwalimu.data.tokenize import Encoded, encode_example
from mwalimu.quickstart.rows import generate_rows
from mwalimu.run import Run

MODELS = files("mwalimu.quickstart")
TEACHER, STUDENT = str(MODELS / "teacher"), str(MODELS / "student")


def job(folder: Path, objective: Any = "forward_kl", **sections: Any) -> Config:
    """As `choose` leaves it: cached, and an encoding that is not auto."""
    raw: dict[str, Any] = {
        "task": "generic",
        "data": {"train": "train.jsonl"},
        "teacher": {"model": TEACHER, "max_tokens": 64} | sections.pop("teacher", {}),
        "student": {"model": STUDENT, "method": "full", "max_length": 256},
        "finetune": {"objective": objective, "teacher": "cached"} | sections.pop("finetune", {}),
        "signals": {"encoding": "sampled"} | sections.pop("signals", {}),
        **sections,
    }
    return build_config(raw, base=folder)


def gold_rows(count: int, split: Any = "validation") -> list[dict[str, Any]]:
    return generate_rows(split, count, 0)


def examples(count: int) -> list[Example]:
    return [Example(row["messages"], (), row["id"], "") for row in gold_rows(count)]


def write_prompts(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row | {"messages": row["messages"][:-1]} for row in gold_rows(count)]
    (folder / "train.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def answered_run(folder: Path, rows: list[dict[str, Any]]) -> Run:
    """A run folder whose stage 1 is done."""
    run = Run(folder)
    path = run.path("generate", "train.jsonl")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    run.finish("generate", "done", [path], {})
    return run


def encoded(tokenizer: Any, example: Example) -> Encoded:
    return encode_example(tokenizer, example.chat, example.tools, max_length=256)


def true_logprobs(model: Any, row: Encoded, temperature: float = 1.0) -> Any:
    """[n, V] natural log-probabilities at the targets of one row, alone, in float64."""
    with torch.no_grad():
        output = model.double()(input_ids=torch.tensor([row.ids]), use_cache=False)
    model.float()
    logits_nV = output.logits[0, -row.targets - 1 : -1].numpy() / temperature
    peak_n1 = logits_nV.max(1, keepdims=True)
    return logits_nV - peak_n1 - np.log(np.exp(logits_nV - peak_n1).sum(1, keepdims=True))
