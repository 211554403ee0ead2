"""The arms that a distilled student is compared with, made ready for evaluation.

teacher, the untouched student, the same student on the few gold labels that the user has (the
honest alternative to distillation), and the distilled student.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from mwalimu.config import Config
from mwalimu.data.record import Record
from mwalimu.evaluation.evaluate import Arm
from mwalimu.run import Run

if TYPE_CHECKING:
    from mwalimu.pipeline import Progress
    from mwalimu.synthesis.verdict import Outcome


def build_arms(
    config: Config,
    run: Run,
    store: Path,
    *,
    labelled: list[Record],
    test: list[Record],
    stage_fingerprint: str,
    progress: Progress,
) -> list[Arm]:
    arms = []
    if config.evaluate.teacher:
        arms.append(_teacher_arm(config, store, test, progress))
    arms.append(_untouched_arm(config, run))
    if labelled:
        arms.append(_labels_arm(config, run, labelled, stage_fingerprint, progress))
    arms.append(_arm("student-distilled", run.path("finetune", "student")))
    return arms


def _arm(name: str, folder: Path) -> Arm:
    return Arm(name=name, folder=folder, answers=None, usd_per_1k=None)


def _teacher_arm(config: Config, store: Path, test: list[Record], progress: Progress) -> Arm:
    """A local teacher is measured like a student; a served one is asked the test rows."""
    if config.teacher.resolved_kind == "local":
        return _arm("teacher", Path(config.teacher.model))
    from mwalimu.synthesis.generate import answer

    outcomes = asyncio.run(answer(config, store, test, on_progress=progress))
    answers = {o.record.id: o.completion.text if o.completion else "" for o in outcomes}
    return Arm("teacher", folder=None, answers=answers, usd_per_1k=_usd_per_1k(config, outcomes))


def _usd_per_1k(config: Config, outcomes: list[Outcome]) -> float | None:
    """At the configured prices; unknown without them."""
    usage = [o.completion.usage for o in outcomes if o.completion]
    prompt, completion = (
        sum(u.prompt_tokens for u in usage),
        sum(u.completion_tokens for u in usage),
    )
    usd = config.teacher.usd(prompt, completion)
    return None if usd is None or not usage else usd / len(usage) * 1000


def _untouched_arm(config: Config, run: Run) -> Arm:
    from mwalimu.finetune.student import load_student, save_student

    # Always anew: a folder of an earlier config would be another student.
    folder = run.path("evaluate", "arms", "student-before")
    model, tokenizer = load_student(config.student, seed=config.seed)
    save_student(model, tokenizer, folder)
    return _arm("student-before", folder)


def _labels_arm(
    config: Config, run: Run, labelled: list[Record], stage_fingerprint: str, progress: Progress
) -> Arm:
    from mwalimu.finetune.finetune import train_student

    folder = run.path("evaluate", "arms", "student-labels")
    epochs = config.evaluate.labelled_epochs or config.finetune.epochs
    train_student(
        config.student,
        config.finetune.model_copy(update={"epochs": epochs}),
        [record.to_json() for record in labelled],
        None,
        folder,
        seed=config.seed,
        stage_fingerprint=stage_fingerprint,
        on_progress=progress,
        label="finetune labels",
    )
    return _arm("student-labels", folder / "student")
