"""STAGE 2: accepted rows -> a student folder. The baseline arm and notebooks train here too."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from mwalimu.config import (
    OUTSIDE_THE_RESULT,
    Config,
    FinetuneConfig,
    StudentConfig,
    learns_from_teacher,
)
from mwalimu.errors import ConfigError, DataError
from mwalimu.files import sha256_file, write_json
from mwalimu.finetune.exact import deterministic
from mwalimu.finetune.parallel.world import joined
from mwalimu.finetune.rows import Rows, check_rows
from mwalimu.finetune.student import pruned
from mwalimu.finetune.student.fake_quantised import Roundings
from mwalimu.finetune.task import Task
from mwalimu.finetune.teacher.white_box import WhiteBox
from mwalimu.finetune.watching.lr_finder import Found, range_test
from mwalimu.finetune.watching.trackers import require_trackers
from mwalimu.progress import Progress
from mwalimu.run import Run, fingerprint, launched, model_hashes


def finetune(
    config: Config, run: Run, *, stage_fingerprint: str, on_progress: Progress, why: str = ""
) -> dict[str, Any]:
    """Trains on what stage 1 published; publishes finetune/student and returns the summary.

    `why` is kept in it: the objective in words, and how it was chosen.
    """
    splits = learned_rows(run)
    folder = run.path("finetune")
    summary = train_student(
        config.student,
        config.finetune,
        splits["train"],
        splits.get("validation"),
        folder,
        seed=config.seed,
        stage_fingerprint=stage_fingerprint,
        on_progress=on_progress,
        white_box=WhiteBox.of(config, run),
    )
    summary |= {"objective": why} if why else {}
    files = [*_files(folder / "student"), *folder.glob("metrics.jsonl")]
    files += _files(folder / "pruned") if config.student.prune else []
    if launched()[0] == 0:
        run.finish("finetune", stage_fingerprint, files, summary)
    return summary


def find_learning_rate(config: Config, run: Run, *, on_progress: Progress) -> Found:
    """The range test on what stage 1 published; writes finetune/lr_finder.json.

    No checkpoint is read or written, and nothing of the training's own is changed.
    """
    rows, folder = learned_rows(run)["train"], run.path("finetune")
    report = partial(on_progress, "learning rate")
    with deterministic():
        ready = pruned(config.student, rows, folder / "pruned", report)
        white_box = WhiteBox.of(config, run)
        task = Task(ready, config.finetune, config.seed, "", folder, report, white_box)
        with task.trainer(rows, []) as (trainer, _):
            found = range_test(trainer)
    write_json(folder / "lr_finder.json", found.to_json())
    return found


def train_student(
    student: StudentConfig,
    settings: FinetuneConfig,
    rows: Rows,
    validation: Rows | None,
    folder: Path,
    *,
    seed: int,
    stage_fingerprint: str,
    on_progress: Progress,
    label: str = "finetune",
    white_box: WhiteBox | None = None,
    roundings: Roundings | None = None,
) -> dict[str, Any]:
    """Trains a student on chats whose last message is the answer; saves it as `folder/student`.

    The same call goes on after a crash, with the same result, and does nothing once all is done.
    `white_box` is where the teacher's distributions come from; without it, and with an objective
    left at auto, the answers are learned as text. Under `roundings` the student computes with
    rounded weights and learns the unrounded ones, which are published; what they depend on is in
    `stage_fingerprint`.

    Returns:
        steps, epochs, best_epoch, best_step, train_loss and validation_loss (nats per target
        token, of the published weights), parameters, trained_parameters, target_tokens,
        truncated_rows, seconds, stopped_early, warnings (in words); of a merged adapter
        merge_error and merge_tolerance, as shares of the logits (RMS); under `roundings`
        validation_loss_before, of the start under them.

    Raises:
        ConfigError: the objective needs a teacher, and there is no `white_box`.
        DataError: there is no row, or rows without an answer.
        NoTargetTokens: names rows whose prompt fills student.max_length.
        StudentError: the student cannot be loaded, or is shorter than student.max_length.
        NonFiniteLoss, DiskFull, OutOfMemory: training cannot go on; the checkpoints are whole.
        MissingDependency: what finetune.track names is not installed.
    """
    if white_box is None and learns_from_teacher(settings.objective):
        raise ConfigError(
            f"{settings.objective[0].kind} needs a teacher beside the rows",
            where="finetune.objective",
            fix="train in a run ('mwalimu run'), or on the text alone",
        )
    require_trackers(settings.track)
    with joined() as world, deterministic():
        report = partial(on_progress, label) if world.main else _unheard
        check_rows(rows, validation or [])
        with world.main_first():
            ready = pruned(student, rows, folder / "pruned", report)
        depends_on = {
            "student": student.model_dump(exclude={"publish"}),
            "model": model_hashes(ready.model),
            "settings": settings.model_dump(exclude=set(OUTSIDE_THE_RESULT)),
            "seed": seed,
            "rows": fingerprint([rows, validation or []]),
            "stage": stage_fingerprint,
        }
        task = Task(
            ready,
            settings,
            seed,
            fingerprint(depends_on),
            folder,
            report,
            white_box,
            world,
            roundings,
        )
        wanted = fingerprint([task.fingerprint, student.publish])
        summary = world.from_main(lambda: _trained(folder, wanted))
        if summary is not None:
            report(1, 1, "already done")
        else:
            summary = task.execute(rows, validation or [])
        return world.from_main(lambda: _finished(folder, wanted, summary))


def learned_rows(run: Run) -> dict[str, Rows]:
    """Train and validation rows, as far as the stages before published them."""
    return {split: _read_rows(path) for split, path in run.learned().items()}


def _read_rows(path: Path) -> Rows:
    with open(path, "rb") as handle:
        rows = [orjson.loads(line) for line in handle]
    if not rows and path.name == "train.jsonl":
        fix = "see the reasons in rejects.jsonl beside it"
        raise DataError("has no accepted row to learn from", where=str(path), fix=fix)
    return rows


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _unheard(_done: int, _total: int, _note: str) -> None:
    """What a process beside the main one has to report."""


def _finished(folder: Path, wanted: str, summary: dict[str, Any]) -> dict[str, Any]:
    """Lists the student as done; what only a resume would need goes."""
    files = _files(folder / "student")
    hashes = {str(path.relative_to(folder)): sha256_file(path) for path in files}
    write_json(
        folder / "trained.json", {"fingerprint": wanted, "files": hashes, "summary": summary}
    )
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return summary


def _trained(folder: Path, wanted: str) -> dict[str, Any] | None:
    """The summary of a finished job with this fingerprint whose student is still whole."""
    try:
        listed = json.loads((folder / "trained.json").read_bytes())
        if listed["fingerprint"] != wanted:
            return None
        whole = all(sha256_file(folder / name) == h for name, h in listed["files"].items())
        return dict(listed["summary"]) if whole and listed["files"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
