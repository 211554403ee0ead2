"""The two sets on which buying is measured: rows, the answers of a teacher, a student to teach.

Every answer is bought once beforehand, so that each way of choosing finds the same one: what a way
is charged is how many it asks for.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwalimu import api
from mwalimu.config import Config, build_config
from mwalimu.data.record import Record
from mwalimu.finetune.finetune import train_student
from mwalimu.progress import live_progress
from mwalimu.quickstart.job import ROWS, write_job

sys.path.insert(0, str(Path(__file__).parents[1]))
import banking77 as bank

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class World:
    """`pool` are prompts, `answers` what the teacher says to each; `test` rows have gold answers.

    `sizes` are the numbers of rows bought after each round.
    """

    name: str
    config: Config
    pool: list[Record]
    answers: dict[str, str]
    test: list[Record]
    sizes: tuple[int, ...]


def quickstart(out: Path, sizes: tuple[int, ...]) -> World:
    """The support desk: the shipped teacher answers all prompts of the embedded job."""
    path = write_job(out / "job", rows=ROWS)
    config = api.load_config(path)
    with live_progress() as progress:
        api.generate(config, out / "job" / "run", store=out / "answers", progress=progress)
    accepted = _read(out / "job" / "run" / "generate" / "train.jsonl")
    answers = {row["id"]: row["messages"][-1]["content"] for row in accepted}
    pool = [row for row in api.load_dataset(out / "job/data/train.jsonl") if row.id in answers]
    test = api.load_dataset(out / "job/data/test.jsonl")
    return World("quickstart", config, pool, answers, test, sizes)


def banking77(out: Path, sizes: tuple[int, ...], data: Path) -> World:
    """Its own labels are the teacher's answers: a teacher that is never wrong.

    The student has read the questions, without their labels, as a user's model has read much.
    """
    rows = {split: bank.read(data / f"{split}.jsonl") for split in bank.SPLITS}
    out.mkdir(parents=True, exist_ok=True)
    bank.write_models(out, rows["train"])
    with live_progress() as progress:
        student = bank.read_questions(out, "student", rows["train"], progress)
    config = build_config(_banking_job(data, student), base=out)
    pool = api.load_dataset(data / "train.jsonl", task="classification")
    test = api.load_dataset(data / "test.jsonl", task="classification")
    return World("banking77", config, pool, {r.id: str(r.reference) for r in pool}, test, sizes)


def _banking_job(data: Path, student: Path) -> dict[str, Any]:
    return {
        "task": "classification",
        "data": {"train": str((data / "train.jsonl").resolve())},
        "teacher": {"model": "fake"},
        "student": {"model": str(student.resolve()), "method": "full", "max_length": bank.CONTEXT},
        "finetune": bank.STUDENT | {"epochs": 16, "patience": 16, "objective": "cross_entropy"},
        "evaluate": {"max_tokens": 24, "batch_size": 128},
    }


def taught(world: World, numbers: list[int], folder: Path, seed: int) -> Path:
    """The student after it has learned the answers to these rows of the pool, in pool order."""
    rows = [_taught_row(world, world.pool[number]) for number in sorted(numbers)]
    train_student(
        world.config.student,
        world.config.finetune,
        rows,
        None,
        folder,
        seed=seed,
        stage_fingerprint="buying",
        on_progress=lambda *_: None,
    )
    return folder / "student"


def _taught_row(world: World, record: Record) -> dict[str, Any]:
    prompt = [message.to_json() for message in record.messages]
    answer = {"role": "assistant", "content": world.answers[record.id]}
    return {"id": record.id, "task": record.task, "messages": [*prompt, answer]}


def _read(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
