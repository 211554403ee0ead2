"""A job of kind "distillation": a whole distill.yaml, from the teacher to registered models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mwalimu import api
from mwalimu.config import Config, build_config
from mwalimu.data.record import Json
from mwalimu.errors import DataError, MwalimuError
from mwalimu.jobs.states import State
from mwalimu.jobs.store.models import ModelStore
from mwalimu.jobs.workers.answers import own_answers
from mwalimu.jobs.workers.registering import register_baseline, register_student
from mwalimu.jobs.workers.task import Outcome, Task


def distil(task: Task) -> Outcome:
    """Goes on where an earlier worker was. What misses its gate is not registered."""
    workspace, job = task.workspace, task.job
    config = build_config(job.spec.config, base=workspace.nowhere, where=job.name)
    _require_files(config)
    own = task.folder / "answers"
    task.enter(State.RUNNING)
    with own_answers(own, workspace.answers) as answers:
        found = api.run(config, workspace.run(job.name), store=answers, progress=task.tell)
    summary = brief(found)
    try:
        api.require_gates(found)
    except MwalimuError as failure:
        return Outcome(summary, failure)
    task.enter(State.FINALIZING)
    models = ModelStore(task.store.database)
    if job.spec.registers:
        register_student(workspace, models, job.name, job.spec.registers[0])
    for name in job.spec.registers[1:]:
        register_baseline(workspace, models, job.name, name, config)
    return Outcome(summary)


def _require_files(config: Config) -> None:
    data = config.data
    for key in ("train", "validation", "test", "labelled"):
        path: Path | None = getattr(data, key)
        if path is not None and not path.is_file():
            raise DataError("is not there any more", where=f"data.{key}", fix="upload it again")


def brief(scores: Json) -> Json:
    """Of the evaluation's summary what fits in a list of jobs: plain numbers, by arm."""
    if "arms" not in scores:
        return _plain(scores)
    return {
        "rows": scores["rows"],
        "arms": {
            arm["name"]: _plain(arm) | {"accuracy": arm["accuracy"]} for arm in scores["arms"]
        },
        "retention": scores["retention"],
        "verdict": scores["verdict"],
    }


def _plain(found: Json) -> dict[str, Any]:
    return {key: value for key, value in found.items() if isinstance(value, str | int | float)}
