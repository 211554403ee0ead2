"""One student: which arm it belongs to, what it learns from, and what it then gets right.

The teacher answers all prompts once a set, and is captured once an encoding; every run then takes
the answers of its own prompts, and the product's cache finds their signals.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from quality_sets import Rows, Workload, dump

from mwalimu.config import Config, build_config
from mwalimu.data.readers import to_record
from mwalimu.evaluation.generate import load_answerer
from mwalimu.files import write_json
from mwalimu.finetune.finetune import train_student
from mwalimu.finetune.teacher.white_box import WhiteBox
from mwalimu.pipeline import Pipeline
from mwalimu.progress import Progress
from mwalimu.run import Run

LEAST_ROWS_AN_EPOCH = 2_000
"""Few prompts are repeated to so many rows: an epoch ends with a checkpoint, which takes time."""


@dataclass(frozen=True, slots=True)
class Arm:
    """`gold`, `text`, `sampled-12`, `topk-32`, `dense`, `dense@2`, `topk-32+text`."""

    name: str

    @property
    def signals(self) -> str:
        """What is kept of the teacher; empty for the arms that learn text alone."""
        kept = self.name.removesuffix("+text")
        return "" if kept in ("gold", "text") else kept

    @property
    def encoding(self) -> str:
        return self.signals.partition("@")[0].partition("-")[0]

    def sections(self) -> dict[str, Any]:
        """The objective and the signals, as a user would write them in distill.yaml."""
        if not self.signals:
            return {"finetune": {"objective": "cross_entropy"}}
        kept, _, temperature = self.signals.partition("@")
        amount = kept.partition("-")[2]
        parts: list[dict[str, Any]] = [
            {"kind": "forward_kl", "temperature": float(temperature or 1)}
        ]
        if self.name.endswith("+text"):
            parts.append({"kind": "cross_entropy"})
        signals: dict[str, Any] = {"encoding": self.encoding}
        if amount:
            signals["draws" if self.encoding == "sampled" else "k"] = int(amount)
        return {"finetune": {"objective": parts}, "signals": signals}


@dataclass(frozen=True, slots=True)
class Lesson:
    """What an arm learns from: the job's config and its run folder, up to the signals."""

    config: Config
    run: Run
    rows: Rows
    bytes_per_token: float | None

    @property
    def white_box(self) -> WhiteBox | None:
        return WhiteBox.of(self.config, self.run)


def prepare(load: Workload, arm: Arm, out: Path, progress: Progress) -> Lesson:
    """The teacher's answers to all prompts and, if the arm needs them, its signals; once each."""
    root = out / "answers" / (arm.signals or "text")
    root.mkdir(parents=True, exist_ok=True)
    dump(root / "prompts.jsonl", [r | {"messages": r["messages"][:-1]} for r in load.train])
    config = build_config(_job(load, arm), base=root)
    pipeline = Pipeline(config, root / "run", store=out / "store", progress=progress)
    pipeline.generate()
    pipeline.curate()
    summary = pipeline.signals()
    size = summary.get(f"{arm.encoding}_bytes_per_token")
    return Lesson(pipeline.config, pipeline.run, _taught(pipeline.run, arm, load.train), size)


def _job(load: Workload, arm: Arm) -> dict[str, Any]:
    own = arm.sections()
    teacher = {"model": str(load.teacher.resolve()), "batch_size": 128}
    student = {"model": str(load.student.resolve()), "method": "full", "max_length": load.context}
    return own | {
        "task": load.task,
        "data": {"train": "prompts.jsonl"},
        "teacher": teacher | {"max_tokens": load.max_tokens},
        "student": student,
        "generate": {"min_ok": 0.5, "deduplicate": False},
        "curate": {"min_ok": 0.0, "checks": []},
        "finetune": load.finetune | own["finetune"],
    }


def _taught(run: Run, arm: Arm, gold: Rows) -> Rows:
    """Rows whose answer was accepted; the gold arm has the same prompts with their gold answers."""
    lines = run.path("generate", "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    if arm.name != "gold":
        return rows
    accepted = {row["id"] for row in rows}
    return [row for row in gold if row["id"] in accepted]


def run_one(
    load: Workload, arm: Arm, lesson: Lesson, prompts: int, seed: int, folder: Path, progress: Any
) -> dict[str, Any]:
    """Trains a student on `prompts` rows that `seed` chooses, and has it answer the test rows.

    There is no validation: the student of the last step is taken. The best epoch by loss would be
    an early one for the arms that learn text, whose loss rises while they still get better.
    """
    chosen = random.Random(seed).sample(lesson.rows, len(lesson.rows))[:prompts]
    rows = list(islice(cycle(chosen), max(LEAST_ROWS_AN_EPOCH, len(chosen))))
    epochs = max(1, round(load.rows_seen / len(rows)))
    started = time.process_time()
    summary = train_student(
        lesson.config.student,
        lesson.config.finetune.model_copy(update={"epochs": epochs, "save_every": 10_000}),
        rows,
        None,
        folder,
        seed=seed,
        stage_fingerprint=arm.name,
        on_progress=progress,
        white_box=lesson.white_box,
    )
    texts = answers(folder / "student", load)
    shutil.rmtree(folder)
    return {
        "set": load.name,
        "arm": arm.name,
        "prompts": len(chosen),
        "seed": seed,
        "learning_rate": lesson.config.finetune.learning_rate,
        "bytes_per_token": lesson.bytes_per_token,
        "scores": scores(load, texts),
        "texts": texts,
        "cpu_seconds": round(time.process_time() - started, 1),
    } | {name: summary[name] for name in ("steps", "epochs", "train_loss")}


def teacher_result(load: Workload, path: Path) -> dict[str, Any]:
    """The teacher's own answers to the test rows, kept in `path`."""
    if not path.is_file():
        texts = answers(load.teacher, load)
        write_json(path, {"scores": scores(load, texts), "texts": texts})
    return dict(json.loads(path.read_bytes()))


def answers(model: Path, load: Workload) -> list[str]:
    """Greedy, as `mwalimu evaluate` asks."""
    records = [to_record(row, task=load.task, default_id="") for row in load.test]
    answerer = load_answerer(model, max_tokens=load.max_tokens, trust_remote_code=False)
    prompts = answerer.encode(records)
    found = answerer.answer_all(prompts, batch_size=128, on_batch=lambda done: None)
    return [answer.text for answer in found]


def scores(load: Workload, texts: list[str]) -> list[float]:
    return [
        load.score(row.get("task", load.task), text, row["messages"][-1]["content"])
        for row, text in zip(load.test, texts, strict=True)
    ]
