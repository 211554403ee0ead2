"""Accepted rows and run folders whose stage 1 is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mwalimu.config import Config, build_config
from mwalimu.curation.row import Row
from mwalimu.run import Run

Json = dict[str, Any]


def accepted(row_id: str, answer: str, prompt: str = "What is it?", **more: Any) -> Json:
    turns = [("user", prompt), ("assistant", answer)]
    messages = [{"role": role, "content": content} for role, content in turns]
    return {"id": row_id, "task": "generic", "messages": messages} | more


def row(row_id: str, answer: str, prompt: str = "What is it?", **more: Any) -> Row:
    return Row.of(json.dumps(accepted(row_id, answer, prompt, **more)).encode())


def config(folder: Path, curate: Json | None = None, **sections: Any) -> Config:
    raw: Json = {
        "task": "generic",
        "data": {"train": "prompts.jsonl"},
        "teacher": {"model": "fake", "temperature": 1.0},
        "student": {"model": "student"},
        "curate": curate or {},
    }
    return build_config(raw | sections, base=folder)


def answered(folder: Path, **splits: list[Json]) -> Run:
    run, files = Run(folder), []
    for split, rows in splits.items():
        path = run.path("generate", f"{split}.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
        files.append(path)
    run.finish("generate", "g", files, {"outcomes": {"ok": sum(map(len, splits.values()))}})
    return run


def read(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]
