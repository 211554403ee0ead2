"""A run folder with a trained student that is tiny, and rows that it can answer."""

import json
from pathlib import Path
from typing import Any

from mwalimu.config import Config, build_config, dump_config
from mwalimu.run import Run
from tests.tiny import make_tiny_model

ROWS = [f"{a} plus {b}" for a in range(4) for b in range(3)]


def chat(number: int, text: str, answer: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    return {"id": f"r{number}", "task": "qa", "messages": messages}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make_run(
    root: Path, *, test: bool = True, tested: int = 6, **export: Any
) -> tuple[Config, Run]:
    """Trained, not evaluated; `export` is the config's section, `tested` counts test rows."""
    run = Run(root / "run")
    rows = [chat(i, text, "7") for i, text in enumerate(ROWS)]
    files = {"train": write(root / "train.jsonl", rows)}
    if test:
        again = (dict(rows[i % len(rows)], id=f"t{i}") for i in range(tested))
        files["test"] = write(root / "test.jsonl", list(again))
    raw = {
        "task": "qa",
        "data": {split: str(path) for split, path in files.items()},
        "teacher": {"model": "llama-3.1-405b", "base_url": "http://127.0.0.1:9/v1"},
        "student": {"model": "tiny", "max_length": 64},
        "evaluate": {"max_tokens": 6},
        "export": export or {"targets": [{"to": "safetensors"}]},
    }
    config = build_config(raw, base=root)
    run.root.mkdir(parents=True, exist_ok=True)
    (run.root / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    run.describe(config={"task": "qa"}, inputs={"train": "ab12"}, versions={})
    for stage in ("generate", "curate"):
        run.finish(stage, stage, [write(run.path(stage, "train.jsonl"), rows)], {"out": len(rows)})
    student = make_tiny_model(run.path("finetune", "student"), spread=0.3)
    metrics = write(run.path("finetune", "metrics.jsonl"), [{"step": 1, "epoch": 1, "loss": 1.0}])
    published = [metrics, *(path for path in student.iterdir() if path.is_file())]
    run.finish("finetune", "f", published, {"parameters": 30_000})
    return config, run
