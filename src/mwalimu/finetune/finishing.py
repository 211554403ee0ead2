"""A trained student trained a little more, under the rounding of the file that it will be in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mwalimu.config import Config, ExportFinishConfig
from mwalimu.finetune.finetune import learned_rows, train_student
from mwalimu.finetune.student.fake_quantised import Roundings
from mwalimu.finetune.teacher.white_box import WhiteBox
from mwalimu.progress import Progress
from mwalimu.run import Run


def finish_student(
    config: Config,
    run: Run,
    settings: ExportFinishConfig,
    student: Path,
    folder: Path,
    roundings: Roundings,
    *,
    stage_fingerprint: str,
    on_progress: Progress,
    label: str,
) -> dict[str, Any]:
    """On the rows and the signals of stage 2; saves `folder/student`, a plain transformers folder.

    `student` is one too. What was frozen in stage 2 stays frozen. `stage_fingerprint` names what
    `roundings` depend on.

    Returns and raises what `train_student` does.
    """
    splits = learned_rows(run)
    whole = {
        "method": "full",
        "prune": None,
        "base_bits": None,
        "unfreeze": (),
        "publish": "merged",
    }
    rate = settings.learning_rate or config.finetune.learning_rate / 10
    some_more = {"epochs": settings.epochs, "learning_rate": rate, "compile": False, "track": ()}
    return train_student(
        config.student.model_copy(update=whole | {"model": str(student)}),
        config.finetune.model_copy(update=some_more),
        splits["train"],
        splits.get("validation"),
        folder,
        seed=config.seed,
        stage_fingerprint=stage_fingerprint,
        on_progress=on_progress,
        label=label,
        white_box=WhiteBox.of(config, run),
        roundings=roundings,
    )
