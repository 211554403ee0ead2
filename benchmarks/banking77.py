"""Real data: banking77 as a classification job, from a teacher of one's own to a distilled student.

    python benchmarks/banking77.py --data FOLDER --out FOLDER [--teacher FOLDER]

`--data` holds train.jsonl, validation.jsonl and test.jsonl in chat form, the label last. Teacher
and student first read the questions as plain text, as a user's models have read much before; the
teacher then learns from all labels. From there `mwalimu run`'s own pipeline goes from the prompts
alone to the report, with ten gold rows a label as the honest alternative. `--teacher` is a teacher
that was made before, with the tokenizer of these training rows. Run again, it goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Mapping
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
Shape = tuple[int, int, int, int]
"""Hidden size, intermediate size, layers, heads."""
SHAPES: dict[str, Shape] = {"teacher": (128, 352, 4, 4), "student": (48, 128, 3, 4)}
SPLITS = ("train", "validation", "test")
# A question with some of its words gone has the same label, which keeps the teacher from learning
# its rows by heart; and it is one more prompt, which the teacher answers as well.
DROPPED_WORDS = 0.2
TEACHER_COPIES, PROMPT_COPIES = 6, 6
READING = FinetuneConfig(
    learning_rate=2e-3, batch_size=16, epochs=8, weight_decay=0.1, adam_beta2=0.98
)
TEACHING = FinetuneConfig(
    learning_rate=1e-3, batch_size=16, epochs=3, weight_decay=0.2, adam_beta2=0.98, patience=3
)
STUDENT = {
    "learning_rate": 4e-3,
    "batch_size": 16,
    "epochs": 4,
    "weight_decay": 0.2,
    "adam_beta2": 0.98,
    "patience": 4,
    # Of words it was not taught without, the teacher is not sure: its distribution says so.
    "objective": "auto",
}

Rows = list[dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", type=Path)
    arguments = parser.parse_args()
    if not (arguments.data / "train.jsonl").is_file():
        print(f"banking77 is not at {arguments.data}: nothing was measured", file=sys.stderr)
        return 1
    rows = {split: read(arguments.data / f"{split}.jsonl") for split in SPLITS}
    with live_progress() as progress:
        write_models(arguments.out, rows["train"])
        teacher = arguments.teacher or make_teacher(arguments.out, rows, progress)
        student = read_questions(arguments.out, "student", rows["train"], progress)
        config = build_config(write_job(arguments.out, rows, teacher, student), base=arguments.out)
        run, store = arguments.out / "run", arguments.out / "answers"
        summary = api.run(config, run, store=store, progress=progress)
    Console().print(render_table(summary))
    return 0


def read(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_models(
    out: Path, rows: Rows, shapes: Mapping[str, Shape] = SHAPES, context: int = CONTEXT
) -> None:
    """Architectures without weights, with a tokenizer trained on the training rows."""
    from transformers import LlamaConfig

    texts = (message["content"] for row in rows for message in row["messages"])
    tokenizer = train_tokenizer(texts, context=context, vocabulary=4096)
    for name, (hidden, intermediate, layers, heads) in shapes.items():
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=intermediate,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=context,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ).save_pretrained(out / name)
        tokenizer.save_pretrained(out / name)


def make_teacher(out: Path, rows: dict[str, Rows], progress: Any) -> Path:
    """Reads, then learns the labels of all rows, each once whole and with words dropped."""
    start = read_questions(out, "teacher", rows["train"], progress)
    taught = with_dropped_words(rows["train"], TEACHER_COPIES, seed=0)
    folder, label = out / "teacher-taught", "teacher learns"
    return train(start, TEACHING, taught, rows["validation"], folder, label, progress)


def read_questions(out: Path, name: str, rows: Rows, progress: Any) -> Path:
    """The model `out/name` after it has read the questions of `rows`, without their labels."""
    folder, label = out / f"{name}-read", f"{name} reads"
    pages = [page(row) for row in rows]
    return train(out / name, READING, pages, None, folder, label, progress)


def page(row: dict[str, Any]) -> dict[str, Any]:
    text = {"role": "assistant", "content": question(row)}
    return row | {"messages": [{"role": "user", "content": "A question."}, text]}


def question(row: dict[str, Any]) -> str:
    return str(row["messages"][-2]["content"])


def with_dropped_words(rows: Rows, copies: int, seed: int) -> Rows:
    """The rows whole, then `copies` - 1 times with words dropped."""
    generator = random.Random(seed)
    shorter = [drop_words(row, n, generator) for n in range(1, copies) for row in rows]
    return [*rows, *shorter]


def drop_words(row: dict[str, Any], copy: int, generator: random.Random) -> dict[str, Any]:
    *before, asked, answer = row["messages"]
    words = asked["content"].split()
    kept = [word for word in words if generator.random() >= DROPPED_WORDS] or words
    shorter = asked | {"content": " ".join(kept)}
    return row | {"id": f"{row['id']}-{copy}", "messages": [*before, shorter, answer]}


def train(
    start: Path,
    settings: FinetuneConfig,
    rows: Rows,
    validation: Rows | None,
    folder: Path,
    label: str,
    progress: Any,
) -> Path:
    train_student(
        StudentConfig(model=str(start), method="full", max_length=CONTEXT),
        settings,
        rows,
        validation,
        folder,
        seed=0,
        stage_fingerprint=f"banking77: {label}",
        on_progress=progress,
        label=label,
    )
    return folder / "student"


def write_job(out: Path, rows: dict[str, Rows], teacher: Path, student: Path) -> dict[str, Any]:
    """Prompts without labels for the teacher, gold rows for the test and the baseline."""
    asked = {
        "train": with_dropped_words(rows["train"], PROMPT_COPIES, seed=1),
        "validation": rows["validation"],
    }
    prompts = {
        split: [row | {"messages": row["messages"][:-1]} for row in found]
        for split, found in asked.items()
    }
    files = prompts | {"test": rows["test"], "labelled": few(rows["train"])}
    for name, content in files.items():
        text = "".join(json.dumps(row) + "\n" for row in content)
        (out / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return {
        "task": "classification",
        # Its authors' split has 24 training rows among the test rows; every arm saw them.
        "data": {name: f"{name}.jsonl" for name in files} | {"contamination": "allow"},
        "teacher": {"model": str(teacher.resolve()), "max_tokens": 24, "batch_size": 128},
        "student": {"model": str(student.resolve()), "method": "full", "max_length": CONTEXT},
        "generate": {"min_ok": 0.95, "deduplicate": False},
        "finetune": STUDENT,
        "evaluate": {"max_tokens": 24, "batch_size": 128, "labelled_epochs": 40},
    }


def few(rows: Rows) -> Rows:
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
