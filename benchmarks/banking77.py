"""Real data: banking77 as a classification job, from a teacher of one's own to a distilled student.

    python benchmarks/banking77.py --data FOLDER --out FOLDER

`--data` holds train.jsonl, validation.jsonl and test.jsonl in chat form, the label last. A teacher
learns from all labels; then `mwalimu run`'s own pipeline goes from the prompts alone to the report,
with ten gold rows a label as the honest alternative. Run again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from mwalimu import api
from mwalimu.config import FinetuneConfig, StudentConfig, build_config
from mwalimu.finetune.finetune import train_student
from mwalimu.progress import live_progress
from mwalimu.quickstart.tokenizer import train_tokenizer
from mwalimu.report import render_table

CONTEXT = 192
GOLD_PER_LABEL = 10
SHAPES = {"teacher": (128, 352, 4, 4), "student": (48, 128, 3, 4)}
TEACHER = FinetuneConfig(
    learning_rate=1e-3, batch_size=16, epochs=9, weight_decay=0.2, adam_beta2=0.98, patience=12
)
STUDENT = {
    "learning_rate": 4e-3,
    "batch_size": 16,
    "epochs": 10,
    "weight_decay": 0.2,
    "adam_beta2": 0.98,
    "patience": 10,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if not (arguments.data / "train.jsonl").is_file():
        print(f"banking77 is not at {arguments.data}: nothing was measured", file=sys.stderr)
        return 1
    rows = {split: read(arguments.data / f"{split}.jsonl") for split in SPLITS}
    with live_progress() as progress:
        write_models(arguments.out, rows["train"])
        teacher = train_teacher(arguments.out, rows, progress)
        config = build_config(write_job(arguments.out, rows, teacher), base=arguments.out)
        run, store = arguments.out / "run", arguments.out / "answers"
        summary = api.run(config, run, store=store, progress=progress)
    Console().print(render_table(summary))
    return 0


SPLITS = ("train", "validation", "test")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_models(out: Path, rows: list[dict[str, Any]]) -> None:
    """Two architectures without weights, with a tokenizer trained on the training rows."""
    from transformers import LlamaConfig

    texts = (message["content"] for row in rows for message in row["messages"])
    tokenizer = train_tokenizer(texts, context=CONTEXT, vocabulary=4096)
    for name, (hidden, intermediate, layers, heads) in SHAPES.items():
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=intermediate,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ).save_pretrained(out / name)
        tokenizer.save_pretrained(out / name)


def train_teacher(out: Path, rows: dict[str, list[dict[str, Any]]], progress: Any) -> Path:
    train_student(
        StudentConfig(model=str(out / "teacher"), method="full", max_length=CONTEXT),
        TEACHER,
        rows["train"],
        rows["validation"],
        out / "teacher-trained",
        seed=0,
        stage_fingerprint="banking77 teacher",
        on_progress=progress,
        label="teacher",
    )
    return out / "teacher-trained" / "student"


def write_job(out: Path, rows: dict[str, list[dict[str, Any]]], teacher: Path) -> dict[str, Any]:
    """Prompts without labels for the teacher, gold rows for the test and the baseline."""
    prompts = {
        split: [row | {"messages": row["messages"][:-1]} for row in rows[split]]
        for split in ("train", "validation")
    }
    files = prompts | {"test": rows["test"], "labelled": few(rows["train"])}
    for name, content in files.items():
        text = "".join(json.dumps(row) + "\n" for row in content)
        (out / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return {
        "task": "classification",
        "data": {name: f"{name}.jsonl" for name in files},
        "teacher": {"model": str(teacher), "max_tokens": 24, "batch_size": 128},
        "student": {"model": str(out / "student"), "method": "full", "max_length": CONTEXT},
        "generate": {"min_ok": 0.95, "deduplicate": False},
        "finetune": STUDENT,
        "evaluate": {"max_tokens": 24, "batch_size": 128, "labelled_epochs": 40},
    }


def few(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    taken: Counter[str] = Counter()
    chosen = []
    for row in rows:
        label = row["messages"][-1]["content"]
        taken[label] += 1
        if taken[label] <= GOLD_PER_LABEL:
            chosen.append(row)
    return chosen


if __name__ == "__main__":
    sys.exit(main())
