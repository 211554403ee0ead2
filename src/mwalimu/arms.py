"""The arms that a distilled student is compared with, made ready for evaluation.

teacher, the untouched student, the same student on the few gold labels that the user has (the
honest alternative to distillation), the same student on the teacher's text alone, and the distilled
student. With several seeds those that are trained are trained again: same rows, same budget.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwalimu.config import Config, FinetuneConfig, learns_from_teacher
from mwalimu.data.record import Record
from mwalimu.evaluation.asking import Arm
from mwalimu.run import Run

if TYPE_CHECKING:
    from mwalimu.finetune.teacher.white_box import WhiteBox
    from mwalimu.progress import Progress
    from mwalimu.teachers.factory import Build

TEACHER, BEFORE, DISTILLED = "teacher", "student-before", "student-distilled"
LABELS, TEXT = "student-labels", "student-text"


class Arms:
    """Made in the order in which they are compared: the distilled student is the last."""

    def __init__(
        self,
        config: Config,
        run: Run,
        store: Path,
        *,
        labelled: list[Record],
        test: list[Record],
        validation: Iterable[Record],
        stage_fingerprint: str,
        progress: Progress,
        build: Build | None = None,
    ) -> None:
        self.config = config
        self.run = run
        self.store = store
        self.labelled = labelled
        self.test = test
        self.validation = validation
        self.stage_fingerprint = stage_fingerprint
        self.progress = progress
        self.build = build

    def built(self) -> list[Arm]:
        """Text alone is an arm of its own only where the objective hears more than text."""
        wanted = self.config.evaluate.arms
        arms = []
        if "teacher" in wanted:
            arms.append(self._teacher())
        if "before" in wanted:
            arms.append(self._untouched())
        arms += [self._trained(name, seed) for name, seed in self.trainings()]
        return [*arms, _arm(DISTILLED, self.run.path("finetune", "student"))]

    def trainings(self) -> list[tuple[str, int]]:
        """The arm and the seed of each student that has to be trained; none needs another."""
        wanted, first = self.config.evaluate.arms, self.config.seed
        seeds = range(first, first + self.config.evaluate.seeds)
        names = []
        if "labels" in wanted and self.labelled:
            names.append(LABELS)
        if "text" in wanted and learns_from_teacher(self.config.finetune.objective):
            names.append(TEXT)
        more = [(DISTILLED, seed) for seed in seeds[1:]]
        return [*((name, seed) for name in names for seed in seeds), *more]

    def _trained(self, name: str, seed: int) -> Arm:
        from mwalimu.finetune.finetune import train_student
        from mwalimu.finetune.student import started

        own = name if seed == self.config.seed else f"{name}-seed{seed}"
        folder = self.run.path("evaluate", "arms", own)
        rows, validation, settings, white_box = self._recipe(name)
        train_student(
            started(self.config.student, self.run.path("finetune", "pruned")),
            settings,
            rows,
            validation,
            folder,
            seed=seed,
            stage_fingerprint=self.stage_fingerprint,
            on_progress=self.progress,
            label=f"finetune {own.removeprefix('student-')}",
            white_box=white_box,
        )
        return _arm(own, folder / "student", repeats="" if own == name else name)

    def _recipe(self, name: str) -> tuple[Any, Any, FinetuneConfig, WhiteBox | None]:
        """Rows, validation rows, settings, and where the teacher's distributions come from."""
        from mwalimu.finetune.teacher.white_box import WhiteBox

        settings = self.config.finetune
        if name == LABELS:
            # Gold rows have no teacher: they are learned as text.
            epochs = self.config.evaluate.labelled_epochs or settings.epochs
            settings = settings.model_copy(update={"epochs": epochs, "objective": ()})
            return [record.to_json() for record in self.labelled], None, settings, None
        train, validation = self._accepted
        if name == TEXT:
            return train, validation, settings.model_copy(update={"objective": ()}), None
        return train, validation, settings, WhiteBox.of(self.config, self.run)

    @cached_property
    def _accepted(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
        """What stage 1 published: train, validation."""
        published = self.run.require("generate").files
        train, validation = "generate/train.jsonl", "generate/validation.jsonl"
        held_out = _rows(self.run.path(validation)) if validation in published else None
        return _rows(self.run.path(train)), held_out

    def _teacher(self) -> Arm:
        """A local one is measured like a student; others are asked the test rows as in stage 1."""
        config = self.config
        plain = not (config.ensemble or config.generate.chain_of_thought)
        if config.teacher.resolved_kind == "local" and plain:
            return _arm(TEACHER, Path(config.teacher.model))
        from mwalimu.synthesis.generate import answer

        outcomes, usd = answer(
            config,
            self.store,
            self.test,
            run_id=self.run.id,
            on_progress=self.progress,
            validation=self.validation,
            build=self.build,
        )
        answers = {o.record.id: o.text for o in outcomes}
        usd_per_1k = None if usd is None else usd / len(outcomes) * 1000
        return Arm(TEACHER, folder=None, answers=answers, usd_per_1k=usd_per_1k)

    def _untouched(self) -> Arm:
        from mwalimu.finetune.student import load_student, save_student, started

        # Always anew: a folder of an earlier config would be another student.
        folder = self.run.path("evaluate", "arms", BEFORE)
        student = started(self.config.student, self.run.path("finetune", "pruned"))
        model, tokenizer = load_student(student, seed=self.config.seed)
        save_student(model, tokenizer, folder, student)
        return _arm(BEFORE, folder)


def train_ahead(
    config: Config,
    root: Path,
    store: Path,
    labelled: list[Record],
    stage_fingerprint: str,
    name: str,
    seed: int,
) -> None:
    """One of the trainings, in a process of its own: `built` finds it done in the run folder."""
    arms = Arms(
        config,
        Run(root),
        store,
        labelled=labelled,
        test=[],
        validation=(),
        stage_fingerprint=stage_fingerprint,
        progress=lambda *_: None,
    )
    arms._trained(name, seed)


def _arm(name: str, folder: Path, *, repeats: str = "") -> Arm:
    return Arm(name=name, folder=folder, answers=None, usd_per_1k=None, repeats=repeats)


def _rows(path: Path) -> list[dict[str, Any]]:
    with open(path, "rb") as handle:
        return [json.loads(line) for line in handle]
