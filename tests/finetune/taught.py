"""A tiny teacher and student, and the whole way from a config to a `Teaching` over their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from mwalimu.choosing import choose
from mwalimu.config import Config, build_config, needed_signals
from mwalimu.data.collate import Batch, collate
from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.rows import encode_splits
from mwalimu.finetune.student import load_student
from mwalimu.finetune.teacher.rows import JobRows
from mwalimu.finetune.teacher.view import TeacherSource
from mwalimu.finetune.teacher.white_box import WhiteBox
from mwalimu.finetune.teaching import Teaching
from mwalimu.run import Run
from mwalimu.synthesis.capture.capture import capture
from mwalimu.synthesis.capture.scorers import build_scorer
from tests.data.tokenizers_by_kind import tokenizer_of
from tests.finetune.jobs import SETTINGS, sums
from tests.finetune.test_finetune import make_run
from tests.tiny import make_tiny_model

CPU = torch.device("cpu")
ROWS = sums(12)
SPREAD = 0.25


class Pair(NamedTuple):
    teacher: Path
    student: Path


def make_pair(folder: Path, *, other_tokens: bool = False, tokenizer: Any = None) -> Pair:
    """The teacher is wider and deeper; `tokenizer` is its own, where it is not the student's."""
    if other_tokens:
        tokenizer = tokenizer_of("byte level")
        tokenizer.pad_token = tokenizer.eos_token
    teacher = make_tiny_model(
        folder / "teacher", hidden=48, layers=3, seed=1, spread=SPREAD, tokenizer=tokenizer
    )
    return Pair(teacher, make_tiny_model(folder / "student", seed=2, spread=SPREAD))


def config_of(pair: Pair, objective: Any, **sections: dict[str, Any]) -> Config:
    """As the pipeline sees it: nothing is left at auto."""
    finetune = {**SETTINGS, "objective": objective, **sections.pop("finetune", {})}
    raw = {
        "task": "generic",
        "data": {"train": "unused.jsonl"},
        "teacher": {"model": str(pair.teacher)},
        "student": {"model": str(pair.student), "method": "full", "max_length": 64}
        | sections.pop("student", {}),
        "finetune": finetune,
        **sections,
    }
    return choose(build_config(raw, base=Path.cwd())).config


def captured(
    folder: Path,
    config: Config,
    rows: list[dict[str, Any]],
    validation: list[dict[str, Any]] | None = None,
) -> Run:
    """A run folder whose rows are answered and, if need be, scored."""
    run = make_run(folder, train=rows, **({"validation": validation} if validation else {}))
    if needed_signals(config):
        scorer = build_scorer(config, folder / "answers")
        capture(config, run, scorer, stage_fingerprint="signals", on_progress=lambda *_: None)
    return run


class Taught(NamedTuple):
    model: Any
    tokenizer: Any
    encoded: list[Encoded]
    source: TeacherSource
    teaching: Teaching

    def batch(self, *indices: int) -> Batch:
        rows = [self.encoded[i] for i in indices or range(len(self.encoded))]
        return self.collate(rows)

    def collate(self, rows: list[Encoded]) -> Batch:
        return collate(rows, pad_id=self.tokenizer.pad_token_id, device=CPU)

    def batches(self, size: int) -> list[Batch]:
        starts = range(0, len(self.encoded), size)
        return [self.collate(self.encoded[start : start + size]) for start in starts]


def taught(
    folder: Path,
    config: Config,
    rows: list[dict[str, Any]] = ROWS,
    known: list[dict[str, Any]] | None = None,
    max_length: int = 64,
) -> Taught:
    """A student that is to learn `rows`, of which stage 1 saw only those that are `known`."""
    run = captured(folder, config, rows if known is None else known)
    model, tokenizer = load_student(config.student, seed=0)
    encoded = encode_splits(tokenizer, rows, [], max_length)[0]
    parts = config.finetune.objective
    white_box = WhiteBox.of(config, run)
    assert white_box is not None
    source = white_box.source(parts, JobRows.of(tokenizer, rows), CPU, autocast=False)
    return Taught(model, tokenizer, encoded, source, Teaching(model, parts, source))
