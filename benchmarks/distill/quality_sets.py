"""The sets: rows with gold answers, a teacher, and a student that has read and learned no task.

Each is a job as a user has it, with small models that were made for it, and what all arms share:
nothing in a set depends on the arm.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.data.grading import grade
from mwalimu.finetune.finetune import train_student
from mwalimu.progress import Progress
from mwalimu.quickstart.rows import generate_rows

sys.path.insert(0, str(Path(__file__).parents[1]))
import banking77

Rows = list[dict[str, Any]]

SHARED = {"batch_size": 16, "weight_decay": 0.2, "adam_beta2": 0.98}

DIALOGUE_CONTEXT, DIALOGUE_CHARACTERS = 384, 700
DIALOGUE_SHAPES = {"teacher": (160, 432, 4, 4), "student": (64, 176, 3, 4)}
READING = FinetuneConfig(
    learning_rate=2e-3, batch_size=16, epochs=3, weight_decay=0.1, adam_beta2=0.98
)
TEACHING = FinetuneConfig(
    learning_rate=2e-3, batch_size=16, epochs=6, weight_decay=0.2, adam_beta2=0.98, patience=6
)


@dataclass(frozen=True, slots=True)
class Workload:
    """`rows_seen` is what every run learns from, however often it has to repeat its prompts.

    All rows have their gold answer last; `finetune` is the config's section, for all arms.
    """

    name: str
    task: str
    teacher: Path
    student: Path
    context: int
    max_tokens: int
    train: Rows
    test: Rows
    finetune: dict[str, Any]
    rows_seen: int
    score: Callable[[str, str, str], float] = grade
    """(task, prediction, reference) -> 0..1."""


def banking(data: Path, out: Path, teacher: Path | None, progress: Progress) -> Workload:
    """77 intents, about seven tokens each; the prompts are those the teacher learned from."""
    rows = _rows(data / "banking77")
    models = out / "banking77" / "models"
    banking77.write_models(models, rows["train"])
    return Workload(
        name="banking77",
        task="classification",
        teacher=teacher or banking77.make_teacher(models, rows, progress),
        student=banking77.read_questions(models, "student", rows["train"], progress),
        context=banking77.CONTEXT,
        max_tokens=24,
        finetune=SHARED | {"learning_rate": 4e-3},
        rows_seen=16_000,
        train=rows["train"],
        test=rows["test"],
    )


def banking_new(data: Path, out: Path, teacher: Path | None, progress: Progress) -> Workload:
    """The same models, and prompts that are new to the teacher, as a user's are.

    They are the validation questions, which chose its epoch and taught it nothing, and every other
    test question; the rest is the test.
    """
    rows = _rows(data / "banking77")
    return replace(
        banking(data, out, teacher, progress),
        name="banking77-new",
        train=rows["validation"] + rows["test"][::2],
        test=rows["test"][1::2],
    )


def quickstart(data: Path, out: Path, teacher: Path | None, progress: Progress) -> Workload:
    """The support-desk world with its shipped teacher and base student; five tasks at once."""
    shipped = Path(str(files("mwalimu.quickstart")))
    return Workload(
        name="quickstart",
        task="generic",
        teacher=teacher or shipped / "teacher",
        student=shipped / "student",
        context=256,
        max_tokens=64,
        train=generate_rows("train", 4_000),
        test=generate_rows("test", 1_000),
        finetune=SHARED | {"learning_rate": 3.5e-3},
        rows_seen=24_000,
    )


def dialogsum(data: Path, out: Path, teacher: Path | None, progress: Progress) -> Workload:
    """Summaries. Both models are made here from nothing, and are far from good ones."""
    rows = _rows(data / "dialogsum")
    short = {split: [row for row in of if _is_short(row)] for split, of in rows.items()}
    models = out / "dialogsum" / "models"
    banking77.write_models(models, short["train"], DIALOGUE_SHAPES, DIALOGUE_CONTEXT)
    return Workload(
        name="dialogsum",
        task="summarization",
        teacher=teacher or _teacher(models, short, progress),
        student=_reader(models, "student", short["train"], progress),
        context=DIALOGUE_CONTEXT,
        max_tokens=80,
        finetune=SHARED | {"learning_rate": 3e-3},
        rows_seen=24_000,
        train=short["train"],
        test=short["test"],
        score=rouge_l,
    )


def _rows(folder: Path) -> dict[str, Rows]:
    return {split: banking77.read(folder / f"{split}.jsonl") for split in banking77.SPLITS}


def rouge_l(task: str, prediction: str, reference: str) -> float:
    from mwalimu.evaluation.metrics import rouge_l as score

    return score([prediction], [reference]) or 0.0


def _is_short(row: dict[str, Any]) -> bool:
    """A dialogue and its summary that small models made on a small machine can hold."""
    *_, dialogue, summary = row["messages"]
    return len(dialogue["content"]) + len(summary["content"]) <= DIALOGUE_CHARACTERS


def _reader(models: Path, name: str, rows: Rows, progress: Progress) -> Path:
    """The model after it has read the dialogues, without their summaries."""
    pages = [banking77.page(row) for row in rows]
    return _fit(models / name, READING, pages, None, models / f"{name}-read", progress)


def _teacher(models: Path, rows: dict[str, Rows], progress: Progress) -> Path:
    start = _reader(models, "teacher", rows["train"], progress)
    folder = models / "teacher-taught"
    return _fit(start, TEACHING, rows["train"], rows["validation"], folder, progress)


def _fit(
    start: Path,
    settings: FinetuneConfig,
    rows: Rows,
    validation: Rows | None,
    folder: Path,
    progress: Progress,
) -> Path:
    train_student(
        StudentConfig(model=str(start), method="full", max_length=DIALOGUE_CONTEXT),
        settings,
        rows,
        validation,
        folder,
        seed=0,
        stage_fingerprint="dialogsum",
        on_progress=progress,
        label=folder.name,
    )
    return folder / "student"


def dump(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


SETS: dict[str, Callable[[Path, Path, Path | None, Progress], Workload]] = {
    "banking77": banking,
    "banking77-new": banking_new,
    "quickstart": quickstart,
    "dialogsum": dialogsum,
}
