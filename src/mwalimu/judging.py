"""Models that judge, for stages that may not import stage 1: asked through the answer store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mwalimu.config import Config, GenerateConfig, TeacherConfig
from mwalimu.data.record import Record

if TYPE_CHECKING:
    from mwalimu.curation.judging import Ask as AskForScores
    from mwalimu.curation.judging import Question
    from mwalimu.evaluation.judge import Ask as AskForVerdicts
    from mwalimu.progress import Progress
    from mwalimu.teachers.factory import Build

Answers = Callable[[Sequence[Record]], list[str | None]]
"""The texts in the order of the records; None where there was no answer."""


def scorer(
    config: Config, store: Path, run_id: str, progress: Progress, build: Build | None = None
) -> AskForScores | None:
    """Who scores answers for stage curate; None where no judge is configured."""
    teacher = config.scorer()
    if teacher is None:
        return None
    answers = _asked(config, teacher, store, run_id, progress, build)

    def ask(questions: Sequence[Question]) -> list[str | None]:
        return answers([Record(one.id, "generic", one.messages) for one in questions])

    return ask


def comparer(
    config: Config, store: Path, run_id: str, progress: Progress, build: Build | None = None
) -> AskForVerdicts | None:
    """Who compares two arms' answers; None without the section judge."""
    if config.judge is None:
        return None
    answers = _asked(config, config.judge, store, run_id, progress, build)
    return lambda records: [text or "" for text in answers(records)]


def _asked(
    config: Config,
    teacher: TeacherConfig,
    store: Path,
    run_id: str,
    progress: Progress,
    build: Build | None,
) -> Answers:
    """On the run's own account and under its budget: what was paid for is not bought again."""
    alone = config.model_copy(
        update={
            "task": "generic",
            "teacher": teacher.model_copy(update={"mode": "online"}),
            "ensemble": None,
            "generate": GenerateConfig(),
        }
    )

    def answers(records: Sequence[Record]) -> list[str | None]:
        from mwalimu.synthesis.generate import answer

        outcomes, _ = answer(
            alone, store, list(records), run_id=run_id, on_progress=progress, build=build
        )
        return [outcome.text if outcome.status == "ok" else None for outcome in outcomes]

    return answers
