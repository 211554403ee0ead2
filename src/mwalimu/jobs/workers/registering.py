"""What a job made, kept under a name of its own: it stays when the job's files go."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mwalimu.config import Config
from mwalimu.data.loading import BASE_FILE, base_of
from mwalimu.files import disk_errors, fsync_folder, link_or_copy, write_json
from mwalimu.jobs.records import RegisteredModel
from mwalimu.jobs.store.models import ModelStore
from mwalimu.jobs.workspace import Workspace
from mwalimu.run import Run


def register_student(
    workspace: Workspace, models: ModelStore, job: str, name: str
) -> RegisteredModel:
    """The student of a job's run folder, as the next version of `name`; once for a job.

    Raises:
        RunError: its fine-tuning is not finished.
        ConfigError: `name` is no name.
        DiskFull: nothing is registered.
    """
    run = Run(workspace.run(job))
    run.require("finetune")
    return _register(workspace, models, job, name, run.path("finetune", "student"), run)


def register_baseline(
    workspace: Workspace, models: ModelStore, job: str, name: str, config: Config
) -> RegisteredModel:
    """The student as it was before; made again where the evaluation had no arm of it."""
    run = Run(workspace.run(job))
    folder = run.path("evaluate", "arms", "student-before")
    if not run.stage("evaluate") or not folder.is_dir():
        folder = run.path("baseline")
        _save_untouched(config, run, folder)
    return _register(workspace, models, job, name, folder, run)


def _save_untouched(config: Config, run: Run, folder: Path) -> None:
    from mwalimu.finetune.student import load_student, save_student, started

    student = started(config.student, run.path("finetune", "pruned"))
    model, tokenizer = load_student(student, seed=config.seed)
    save_student(model, tokenizer, folder, student)


def _register(
    workspace: Workspace, models: ModelStore, job: str, name: str, folder: Path, run: Run
) -> RegisteredModel:
    kept = workspace.model(name, job)
    if not kept.exists():
        with disk_errors(kept):
            keep(folder, kept)
    return models.add(
        name,
        job=job,
        folder=str(kept.relative_to(workspace.root)),
        properties=_properties(run.manifest.get("config", {})),
    )


def _properties(config: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation later needs, to grade as the job did; and where the model comes from."""
    return {
        "task": config.get("task"),
        "student": config.get("student", {}).get("model"),
        "teacher": config.get("teacher", {}).get("model"),
        "seed": config.get("seed"),
        "evaluate": config.get("evaluate", {}),
    }


def keep(source: Path, kept: Path) -> None:
    """A model's folder, whole or not at all. Its files are shared with `source` where the disk can
    do that: whoever writes there puts a new file in the old one's place."""
    making = kept.with_name(f".{kept.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    shutil.copytree(source, making, copy_function=link_or_copy)
    if (source / BASE_FILE).exists():
        facts = json.loads((source / BASE_FILE).read_bytes())
        write_json(making / BASE_FILE, facts | {"model": base_of(source)["model"]})
    fsync_folder(making)
    making.rename(kept)
    fsync_folder(kept.parent)
