"""STAGE 2: accepted rows -> a student folder. The baseline arm and notebooks train here too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from mwalimu.config import Config, FinetuneConfig, StudentConfig, learns_from_teacher
from mwalimu.errors import ConfigError, DataError, StudentError
from mwalimu.finetune.checkpoint import TrainState
from mwalimu.finetune.exact import deterministic
from mwalimu.finetune.on_policy import Rollout
from mwalimu.finetune.rows import Rows, check_rows, encode_splits
from mwalimu.finetune.student import autocast_wanted, load_student, save_student
from mwalimu.finetune.teacher.rows import JobRows
from mwalimu.finetune.teacher.view import TeacherSource
from mwalimu.finetune.teacher.white_box import WhiteBox
from mwalimu.finetune.teaching import TEXT_ALONE
from mwalimu.finetune.trainer import Job, Trainer
from mwalimu.run import Run, fingerprint, model_hashes, sha256_file, write_json

MAX_LENGTH = 2048  # tokens of a row, where the config sets nothing

Progress = Callable[[str, int, int, str], None]


def finetune(
    config: Config, run: Run, *, stage_fingerprint: str, on_progress: Progress, why: str = ""
) -> dict[str, Any]:
    """Trains on what stage 1 published; publishes finetune/student and returns the summary.

    `why` is kept in it: the objective in words, and how it was chosen.
    """
    published = run.require("generate").files
    splits = {
        name: _read_rows(run.path("generate", f"{name}.jsonl"))
        for name in ("train", "validation")
        if f"generate/{name}.jsonl" in published
    }
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
    run.finish("finetune", stage_fingerprint, files, summary)
    return summary


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
) -> dict[str, Any]:
    """Trains a student on chats whose last message is the answer; saves it as `folder/student`.

    The same call goes on after a crash, with the same result, and does nothing once all is done.
    `white_box` is where the teacher's distributions come from; without it, and with an objective
    left at auto, the answers are learned as text.

    Returns:
        steps, epochs, best_epoch, train_loss and validation_loss (nats per target token, of the
        published epoch), parameters, trained_parameters, target_tokens, truncated_rows, seconds,
        stopped_early.

    Raises:
        ConfigError: the objective needs a teacher, and there is no `white_box`.
        DataError: there is no row, or rows without an answer.
        NoTargetTokens: names rows whose prompt fills student.max_length.
        StudentError: the student cannot be loaded, or is shorter than student.max_length.
        NonFiniteLoss, DiskFull: training cannot go on; the checkpoints are whole.
    """
    if white_box is None and learns_from_teacher(settings.objective):
        raise ConfigError(
            f"{settings.objective[0].kind} needs a teacher beside the rows",
            where="finetune.objective",
            fix="train in a run ('mwalimu run'), or on the text alone",
        )
    job_fingerprint = fingerprint(
        {
            "student": student.model_dump(),
            "model": model_hashes(student.model),
            "settings": settings.model_dump(exclude={"save_every"}),
            "seed": seed,
            "rows": fingerprint([rows, validation or []]),
            "stage": stage_fingerprint,
        }
    )
    summary = _trained(folder, job_fingerprint)
    if summary is not None:
        on_progress(label, 1, 1, "already done")
    else:
        report = partial(on_progress, label)
        task = _Task(student, settings, seed, job_fingerprint, folder, report, white_box)
        with deterministic():
            summary = task.execute(rows, validation or [])
        _list_as_done(folder, job_fingerprint, summary)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return summary


@dataclass(frozen=True, slots=True)
class _Task:
    """One student's way from rows to its folder."""

    student: StudentConfig
    settings: FinetuneConfig
    seed: int
    fingerprint: str
    folder: Path
    report: Callable[[int, int, str], None]
    white_box: WhiteBox | None

    def execute(self, rows: Rows, validation: Rows) -> dict[str, Any]:
        check_rows(rows, validation)
        self.report(0, 1, "loads the student")
        model, tokenizer = load_student(self.student, seed=self.seed)
        job = self._job(model, tokenizer, rows, validation)
        with nullcontext() if job.source is None else closing(job.source):
            trainer = Trainer(model, job, self.folder, self.report)
            sizes = _count_parameters(model)
            state = trainer.fit()
        save_student(model, tokenizer, self.folder / "student")
        self._say_done(state, trainer.stopped_early)
        return _summary(state, trainer.stopped_early) | sizes | _count_rows(job)

    def _job(self, model: Any, tokenizer: Any, rows: Rows, validation: Rows) -> Job:
        self.report(0, 1, "encodes the rows")
        length = _max_length(model, self.student)
        train, held_out = encode_splits(tokenizer, rows, validation, length)
        return Job(
            settings=self.settings,
            train=train,
            validation=held_out,
            pad_id=tokenizer.pad_token_id,
            seed=self.seed,
            fingerprint=self.fingerprint,
            autocast=autocast_wanted(self.student),
            parts=self.settings.objective or TEXT_ALONE,
            source=self._source(model, tokenizer, [*rows, *validation]),
            rollout=self._rollout(tokenizer, length),
        )

    def _rollout(self, tokenizer: Any, length: int) -> Rollout | None:
        settings = self.settings.on_policy
        if settings is None or self.white_box is None:
            return None
        return Rollout.of(settings, tokenizer, length, self.seed)

    def _source(self, model: Any, tokenizer: Any, rows: Rows) -> TeacherSource | None:
        if self.white_box is None:
            return None
        return self.white_box.source(
            self.settings.objective,
            JobRows.of(tokenizer, rows),
            model.device,
            autocast=autocast_wanted(self.student),
        )

    def _say_done(self, state: TrainState, stopped_early: bool) -> None:
        assert state.best is not None
        why = "stopped early, " if stopped_early else ""
        self.report(state.step, state.step, f"{why}epoch {state.best.epoch} is published")


def _read_rows(path: Path) -> Rows:
    with open(path, "rb") as handle:
        rows = [orjson.loads(line) for line in handle]
    if not rows and path.name == "train.jsonl":
        fix = "see the reasons in rejects.jsonl beside it"
        raise DataError("has no accepted row to learn from", where=str(path), fix=fix)
    return rows


def _max_length(model: Any, student: StudentConfig) -> int:
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    wanted = student.max_length
    if wanted is None:
        return min(MAX_LENGTH, context or MAX_LENGTH)
    if context is not None and wanted > context:
        raise StudentError(
            f"student.max_length is {wanted}, the model has {context} positions",
            where=student.model,
            fix=f"set student.max_length to {context} or less, or leave it out",
        )
    return wanted


def _count_parameters(model: Any) -> dict[str, int]:
    """Of the published model: an adapter is merged, and adds nothing."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    added = sum(p.numel() for name, p in base.named_parameters() if ".lora_" in name)
    total = sum(p.numel() for p in base.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {"parameters": total - added, "trained_parameters": trained}


def _count_rows(job: Job) -> dict[str, int]:
    return {"truncated_rows": sum(row.truncated for row in job.train)}


def _summary(state: TrainState, stopped_early: bool) -> dict[str, Any]:
    assert state.best is not None
    return {
        "steps": state.step,
        "epochs": state.epoch,
        "best_epoch": state.best.epoch,
        "train_loss": state.best.train_loss,
        "validation_loss": state.best.validation_loss,
        "target_tokens": state.tokens,
        "seconds": round(state.seconds, 1),
        "stopped_early": stopped_early,
    }


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _list_as_done(folder: Path, wanted: str, summary: dict[str, Any]) -> None:
    files = _files(folder / "student")
    hashes = {str(path.relative_to(folder)): sha256_file(path) for path in files}
    write_json(
        folder / "trained.json", {"fingerprint": wanted, "files": hashes, "summary": summary}
    )


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
