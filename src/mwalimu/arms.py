"""The arms that a distilled student is compared with, made ready for evaluation.

teacher, the untouched student, the same student on the few gold labels that the user has (the
honest alternative to distillation), and the distilled student.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mwalimu.config import Config
from mwalimu.data.record import Record
from mwalimu.evaluation.evaluate import Arm
from mwalimu.run import Run

if TYPE_CHECKING:
    from mwalimu.pipeline import Progress


def build_arms(
    config: Config,
    run: Run,
    store: Path,
    *,
    labelled: list[Record],
    test: list[Record],
    validation: Iterable[Record],
    stage_fingerprint: str,
    progress: Progress,
) -> list[Arm]:
    arms = []
    if config.evaluate.teacher:
        arms.append(_teacher_arm(config, run, store, test, validation, progress))
    arms.append(_untouched_arm(config, run))
    if labelled:
        arms.append(_labels_arm(config, run, labelled, stage_fingerprint, progress))
    arms.append(_arm("student-distilled", run.path("finetune", "student")))
    return arms


def _arm(name: str, folder: Path) -> Arm:
    return Arm(name=name, folder=folder, answers=None, usd_per_1k=None)


def _teacher_arm(
    config: Config,
    run: Run,
    store: Path,
    test: list[Record],
    validation: Iterable[Record],
    progress: Progress,
) -> Arm:
    """A local teacher is measured like a student; others are asked the test rows as in stage 1."""
    plain = not (config.ensemble or config.generate.chain_of_thought)
    if config.teacher.resolved_kind == "local" and plain:
        return _arm("teacher", Path(config.teacher.model))
    from mwalimu.synthesis.generate import answer

    outcomes, usd = answer(
        config, store, test, run_id=run.id, on_progress=progress, validation=validation
    )
    answers = {o.record.id: o.text for o in outcomes}
    usd_per_1k = None if usd is None else usd / len(outcomes) * 1000
    return Arm("teacher", folder=None, answers=answers, usd_per_1k=usd_per_1k)


def _untouched_arm(config: Config, run: Run) -> Arm:
    from mwalimu.finetune.student import load_student, save_student, started

    # Always anew: a folder of an earlier config would be another student.
    folder = run.path("evaluate", "arms", "student-before")
    student = started(config.student, run.path("finetune", "pruned"))
    model, tokenizer = load_student(student, seed=config.seed)
    save_student(model, tokenizer, folder, student)
    return _arm("student-before", folder)


def _labels_arm(
    config: Config, run: Run, labelled: list[Record], stage_fingerprint: str, progress: Progress
) -> Arm:
    from mwalimu.finetune.finetune import train_student
    from mwalimu.finetune.student import started

    folder = run.path("evaluate", "arms", "student-labels")
    epochs = config.evaluate.labelled_epochs or config.finetune.epochs
    # Gold rows have no teacher: they are learned as text.
    settings = config.finetune.model_copy(update={"epochs": epochs, "objective": ()})
    train_student(
        started(config.student, run.path("finetune", "pruned")),
        settings,
        [record.to_json() for record in labelled],
        None,
        folder,
        seed=config.seed,
        stage_fingerprint=stage_fingerprint,
        on_progress=progress,
        label="finetune labels",
    )
    return _arm("student-labels", folder / "student")
