"""What a small pair learns from: the generated world of a recipe, or a folder of real rows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes.make_data import draw_rows, load_world

from mwalimu.data.dataset import load_records
from mwalimu.data.record import Record
from mwalimu.errors import DataError
from mwalimu.files import atomic_writer

AMOUNTS = {"lessons": 4000, "lesson_epochs": 2, "pages": 2500, "prompts": 0, "vocabulary": 1024}
"""Gold rows of the teacher; rows that the student reads without their answers; prompts beside those
of the recipe. A world's `SMALL` says where it takes more."""
REAL = {"lessons": 4000, "prompts": 2000, "validation": 200, "test": 400, "labelled": 100}
"""Rows of a real set, of which there are as many as there are."""
LONGEST = 360
"""Characters of a real row: longer ones are not for a pair as small as this."""

Chats = list[dict[str, Any]]


@dataclass(frozen=True)
class Material:
    """Chats for teacher and student, and the job's section `data` where it is not the recipe's."""

    lessons: Chats
    held_out: Chats
    pages: Chats
    lesson_epochs: int
    vocabulary: int
    data: dict[str, str]


def of_world(folder: Path, own_prompts: Path, out: Path) -> Material:
    """Nothing of the teacher's lessons is asked or tested."""
    world = load_world(folder)
    amounts = AMOUNTS | getattr(world, "SMALL", {})
    more = amounts["prompts"]
    data = {"train": str(_more_prompts(own_prompts, world, more, out))} if more else {}
    return Material(
        [lesson(row) for row in draw_rows(world, "teacher", amounts["lessons"])],
        [lesson(row) for row in draw_rows(world, "validation", world.SIZES["validation"])],
        [page(row["id"], row["prompt"]) for row in draw_rows(world, "train", amounts["pages"], 1)],
        amounts["lesson_epochs"],
        amounts["vocabulary"],
        data,
    )


def of_set(folder: Path, task: str, out: Path) -> Material:
    """`folder` holds train.jsonl, validation.jsonl and test.jsonl with gold answers.

    The first half of the training rows that are short enough are lessons, the rest prompts. Raises
    DataError where a file is missing or its rows are too few.
    """
    rows = {name: _short(folder, name, task) for name in ("train", "validation", "test")}
    half = len(rows["train"]) // 2
    lessons, asked = rows["train"][:half][: REAL["lessons"]], rows["train"][half:]
    asked = asked[: REAL["prompts"]]
    if min(len(asked), len(rows["validation"]), len(rows["test"])) < 2:
        raise DataError(f"has too few rows of up to {LONGEST} characters", where=str(folder))
    files = {
        "train": [row | {"messages": row["messages"][:-1]} for row in asked],
        "labelled": asked[: REAL["labelled"]],
        "validation": rows["validation"][: REAL["validation"]],
        "test": rows["test"][: REAL["test"]],
    }
    data = {name: str(_write(out / f"{name}.jsonl", chats)) for name, chats in files.items()}
    data["contamination"] = "drop"  # public sets repeat a row now and then, also of their test rows
    pages = [page(row["id"], row["messages"][-2]["content"]) for row in asked]
    epochs, vocabulary = AMOUNTS["lesson_epochs"], AMOUNTS["vocabulary"]
    return Material(lessons, files["validation"], pages, epochs, vocabulary, data)


def lesson(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a recipe as the trainer takes it."""
    return _chat(row["id"], row["prompt"], row["completion"], row["system"])


def page(name: str, text: str) -> dict[str, Any]:
    """A text to read, as a pretrained model has read much before."""
    return _chat(name, "Read.", text)


def _chat(name: str, asked: str, said: str, system: str = "") -> dict[str, Any]:
    turns = [("system", system)] if system else []
    turns += [("user", asked), ("assistant", said)]
    return {"id": name, "messages": [{"role": role, "content": text} for role, text in turns]}


def _short(folder: Path, name: str, task: str) -> Chats:
    records = load_records(folder / f"{name}.jsonl", task=task, split=name)
    return [one.to_json() for one in records if one.reference and _length(one) <= LONGEST]


def _length(record: Record) -> int:
    return sum(len(turn.content) for turn in record.messages) + len(record.reference or "")


def _more_prompts(own: Path, world: Any, more: int, out: Path) -> Path:
    """The recipe's prompts, and more of their side of the world."""
    rows = [json.loads(line) for line in own.read_text(encoding="utf-8").splitlines()]
    known = {row["prompt"] for row in rows}
    for row in draw_rows(world, "train", more, seed=2):
        if row["prompt"] not in known:
            del row["completion"]
            rows.append(row | {"id": f"more-{row['id']}"})
    return _write(out / "prompts.jsonl", rows)


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    with atomic_writer(path) as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return path.resolve()
