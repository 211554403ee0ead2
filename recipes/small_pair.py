"""A recipe's own job with a small pair: what its README expects, measured again on this machine.

    python -m recipes.small_pair content-moderation --out FOLDER

A teacher is trained from random weights on gold rows of the recipe's world (`make_data.py`: none of
them is asked or tested), and a student reads posts, clauses or notes without their answers, as a
pretrained model has read much before. From there it is the recipe's distill.yaml, with these two in
place of the real pair, from its prompts to its report. Run again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from recipes.make_data import RECIPES, draw_rows, load_world
from rich.console import Console

from mwalimu import api
from mwalimu.config import Config, FinetuneConfig, StudentConfig, load_config
from mwalimu.finetune.finetune import train_student
from mwalimu.progress import live_progress
from mwalimu.quickstart.tokenizer import train_tokenizer
from mwalimu.report import render_table
from mwalimu.run import atomic_writer

CONTEXT, MAX_ANSWER = 192, 64
Shape = tuple[int, int, int, int]
"""Hidden size, intermediate size, layers, heads."""
SHAPES: dict[str, Shape] = {"teacher": (80, 208, 3, 4), "student": (40, 104, 2, 4)}
AMOUNTS = {"lessons": 4000, "lesson_epochs": 2, "pages": 2500, "prompts": 0, "vocabulary": 1024}
"""Gold rows of the teacher; rows that the student reads without their answers; prompts beside those
of the recipe. A world's `SMALL` says where it takes more."""
TEACHING = FinetuneConfig(learning_rate=4e-3, batch_size=32, weight_decay=0.1, adam_beta2=0.98)
READING = FinetuneConfig(
    learning_rate=5e-3, batch_size=32, epochs=1, weight_decay=0.1, adam_beta2=0.98
)
LEARNING = {
    "learning_rate": 4e-3,
    "batch_size": 16,
    "epochs": 16,
    "weight_decay": 0.2,
    "adam_beta2": 0.98,
    "patience": 16,
}
# The baseline has few rows: as many steps as it can use.
LABELLED_EPOCHS = 40

Rows = list[dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipe", help="name of a folder here with a world.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1, help="more end in other weights")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    folder = RECIPES / arguments.recipe
    world = load_world(folder)
    with live_progress() as progress:
        pair = make_pair(world, arguments.out, progress)
        config = small_job(folder / "distill.yaml", world, arguments.out, pair)
        store = arguments.out / "answers"
        summary = api.run(config, arguments.out / "run", store=store, progress=progress)
    Console().print(render_table(summary))
    return 0


def amount(world: ModuleType, name: str) -> int:
    return int((AMOUNTS | getattr(world, "SMALL", {}))[name])


def small_job(path: Path, world: ModuleType, out: Path, pair: dict[str, Path]) -> Config:
    """The recipe's config, but for the models and how so small a student is trained."""
    asked = load_config(path)
    longest = min(asked.teacher.max_tokens, MAX_ANSWER)
    teacher = {"model": str(pair["teacher"].resolve()), "max_tokens": longest}
    student = {"model": str(pair["student"].resolve()), "method": "full", "max_length": CONTEXT}
    changes = {
        "teacher": teacher | {"batch_size": 128},
        "student": student,
        "finetune": LEARNING,
        "budget": {},
        "generate.json_schema": None,  # a local teacher cannot be held to one; `curate` looks
        "evaluate.max_tokens": longest,
        "evaluate.batch_size": 128,
        "evaluate.labelled_epochs": LABELLED_EPOCHS,
    }
    if more := amount(world, "prompts"):
        assert asked.data.train is not None
        changes["data.train"] = str(write_prompts(asked.data.train, world, more, out).resolve())
    return load_config(path, [f"{key}={json.dumps(value)}" for key, value in changes.items()])


def write_prompts(own: Path, world: ModuleType, more: int, out: Path) -> Path:
    """The recipe's prompts, and more of their side of the world."""
    path = out / "prompts.jsonl"
    asked = {json.loads(line)["prompt"] for line in own.read_text(encoding="utf-8").splitlines()}
    with atomic_writer(path) as handle:
        handle.write(own.read_bytes())
        for row in draw_rows(world, "train", more, seed=2):
            if row["prompt"] not in asked:
                row = row | {"id": f"more-{row['id']}"}
                del row["completion"]
                handle.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return path


def make_pair(world: ModuleType, out: Path, progress: Any) -> dict[str, Path]:
    """Folders of a teacher that knows the world's answers, and of a student that does not."""
    lessons = [lesson(row) for row in draw_rows(world, "teacher", amount(world, "lessons"))]
    held_out = draw_rows(world, "validation", world.SIZES["validation"])
    pages = [page(row) for row in draw_rows(world, "train", amount(world, "pages"), seed=1)]
    write_architectures(out, lessons, amount(world, "vocabulary"))
    epochs = amount(world, "lesson_epochs")
    teaching = TEACHING.model_copy(update={"epochs": epochs, "patience": epochs})
    validation = [lesson(row) for row in held_out]
    return {
        "teacher": train(out, "teacher", teaching, lessons, validation, progress),
        "student": train(out, "student", READING, pages, None, progress),
    }


def lesson(row: dict[str, Any]) -> dict[str, Any]:
    """The row as the trainer takes it."""
    return _chat(row["id"], row["prompt"], row["completion"], row["system"])


def page(row: dict[str, Any]) -> dict[str, Any]:
    """A row to read: its text is what is learned, and its answer is not there."""
    return _chat(row["id"], "Read.", row["prompt"])


def _chat(name: str, asked: str, said: str, system: str = "") -> dict[str, Any]:
    turns = [("system", system)] if system else []
    turns += [("user", asked), ("assistant", said)]
    return {"id": name, "messages": [{"role": role, "content": text} for role, text in turns]}


def write_architectures(out: Path, rows: Rows, vocabulary: int) -> None:
    """Models without weights, with a tokenizer trained on these rows."""
    from transformers import LlamaConfig

    texts = (turn["content"] for row in rows for turn in row["messages"])
    tokenizer = train_tokenizer(texts, context=CONTEXT, vocabulary=vocabulary)
    for name, (hidden, intermediate, layers, heads) in SHAPES.items():
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=intermediate,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=CONTEXT,
            # Small models learn to copy sooner with larger first weights and shorter periods.
            initializer_range=0.1,
            rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            architectures=["LlamaForCausalLM"],
        ).save_pretrained(out / name)
        tokenizer.save_pretrained(out / name)


def train(
    out: Path,
    name: str,
    settings: FinetuneConfig,
    rows: Rows,
    validation: Rows | None,
    progress: Any,
) -> Path:
    folder = out / f"{name}-trained"
    train_student(
        StudentConfig(model=str(out / name), method="full", max_length=CONTEXT, dtype="float32"),
        settings,
        rows,
        validation,
        folder,
        seed=0,
        stage_fingerprint=f"small pair: {name}",
        on_progress=progress,
        label=f"{name} learns" if validation else f"{name} reads",
    )
    return folder / "student"


if __name__ == "__main__":
    sys.exit(main())
