"""Stage 1 as a process of its own that a test may kill.

python -m tests.scale.driver '{"folder": ..., "teacher": {...}, "rows": 30, "scale": {...}}'
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from mwalimu.config import build_config
from mwalimu.data.record import Message, Record
from mwalimu.run import Run
from mwalimu.scale.teacher import builder_of
from mwalimu.synthesis.generate import generate

OUTPUTS = ("train.jsonl", "rejects.jsonl")


def live(
    folder: Path, teacher: dict[str, Any], rows: int, scale: Any, **generation: Any
) -> list[str]:
    """Asks `rows` prompts in `folder`, or goes on with it; the SHA-256 of what it published."""
    raw = {"task": "generic", "data": {"train": "p.jsonl"}, "student": {"model": "none"}}
    config = build_config(
        raw | {"teacher": teacher, "scale": scale, "generate": generation}, base=folder
    )
    prompts = [Record(f"r{i}", "generic", (Message("user", f"q{i}"),)) for i in range(rows)]
    run = Run(folder / "run")
    generate(
        config,
        run,
        folder / "answers",
        prompts,
        None,
        stage_fingerprint="f",
        on_progress=lambda *_: None,
        build=builder_of(config.scale),
    )
    files = [run.path("generate", name) for name in OUTPUTS]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


if __name__ == "__main__":
    life = json.loads(sys.argv[1])
    live(Path(life.pop("folder")), **life)
