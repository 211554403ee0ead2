"""A recipe's own job with a small pair: what its README expects, measured again on this machine.

    python -m recipes.small_pair content-moderation --out FOLDER
    python -m recipes.small_pair formats/nli --data FOLDER --out FOLDER

A teacher is trained from random weights on gold rows (of the recipe's generated world, or of a
folder of real ones: `material.py`), and a student reads questions without their answers, as a
pretrained model has read much before. From there it is the recipe's distill.yaml, with these two in
place of the real pair, from its prompts to its report. Run again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from recipes.make_data import RECIPES
from recipes.material import Chats, Material, of_set, of_world
from rich.console import Console

from mwalimu import api
from mwalimu.config import Config, FinetuneConfig, StudentConfig, load_config
from mwalimu.errors import ConfigError, MwalimuError
from mwalimu.finetune.finetune import train_student
from mwalimu.progress import live_progress
from mwalimu.quickstart.recipe import shape_of, write_architecture
from mwalimu.quickstart.tokenizer import train_tokenizer
from mwalimu.report import render_table

CONTEXT, MAX_ANSWER = 192, 64
SHAPES = {"teacher": shape_of(80, 208, 3, 4), "student": shape_of(40, 104, 2, 4)}
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipe", help="folder here, with a world.py or else with --data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="real rows: train, validation and test.jsonl")
    parser.add_argument("--threads", type=int, default=1, help="more end in other weights")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        summary = run(RECIPES / arguments.recipe, arguments.data, arguments.out)
    except MwalimuError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    Console().print(render_table(summary))
    return 0


def run(folder: Path, data: Path | None, out: Path) -> dict[str, Any]:
    """The scores. Raises ConfigError where the recipe has no world and no `data` are given."""
    asked = load_config(folder / "distill.yaml")
    if data is not None:
        material = of_set(data, asked.task, out)
    elif (folder / "world.py").is_file() and asked.data.train is not None:
        material = of_world(folder, asked.data.train, out)
    else:
        raise ConfigError("has no world.py", where=str(folder), fix="name real rows with --data")
    with live_progress() as progress:
        config = small_job(asked, folder, material.data, make_pair(material, out, progress))
        return api.run(config, out / "run", store=out / "answers", progress=progress)


def small_job(asked: Config, folder: Path, data: dict[str, str], pair: dict[str, Path]) -> Config:
    """The recipe's config, but for the models and how so small a student is trained."""
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
    } | {f"data.{name}": path for name, path in data.items()}
    overrides = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    return load_config(folder / "distill.yaml", overrides)


def make_pair(material: Material, out: Path, progress: Any) -> dict[str, Path]:
    """Folders of a teacher that has learned the lessons, and of a student that has not."""
    write_architectures(out, material)
    epochs = material.lesson_epochs
    teaching = TEACHING.model_copy(update={"epochs": epochs, "patience": epochs})
    lessons, held_out = material.lessons, material.held_out
    return {
        "teacher": train(out, "teacher", teaching, lessons, held_out, progress),
        "student": train(out, "student", READING, material.pages, None, progress),
    }


def write_architectures(out: Path, material: Material) -> None:
    """Models without weights, with a tokenizer trained on the lessons."""
    texts = (turn["content"] for row in material.lessons for turn in row["messages"])
    tokenizer = train_tokenizer(texts, context=CONTEXT, vocabulary=material.vocabulary)
    for name, shape in SHAPES.items():
        write_architecture(out / name, tokenizer, shape, tied=True, context=CONTEXT)


def train(
    out: Path,
    name: str,
    settings: FinetuneConfig,
    rows: Chats,
    validation: Chats | None,
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
