"""A job of kind "evaluation": one registered model answers the rows of a dataset.

The numbers are those that the evaluation of a distillation has of the same model and rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwalimu.config import Config, build_config
from mwalimu.data.dataset import load_records
from mwalimu.data.final_answer import final_answer
from mwalimu.data.grading import exact_match
from mwalimu.data.record import Json, Record
from mwalimu.errors import ConfigError, DataError, StudentError
from mwalimu.garbage import importing
from mwalimu.jobs.records import RegisteredModel
from mwalimu.jobs.states import State
from mwalimu.jobs.store.models import ModelStore
from mwalimu.jobs.workers.task import Outcome, Task
from mwalimu.progress import Progress
from mwalimu.run import Run, fingerprint

ARM = "model"
KEPT = ("batch_size", "bootstrap", "groups", "likelihood", "max_tokens", "tasks_file")
"""Of the settings of the job that made the model: those that its scores depend on."""


@dataclass(frozen=True, slots=True)
class Found:
    """An arm of the summary of an evaluation, and its graded rows."""

    arm: Json
    rows: Sequence[Json]


METRICS: dict[str, Callable[[Found], Any]] = {
    "accuracy": lambda found: found.arm["accuracy"]["mean"],
    "accuracy_interval": lambda found: [found.arm["accuracy"][end] for end in ("low", "high")],
    "exact_match": lambda found: _exact_match(found.rows),
    "f1_score": lambda found: found.arm["token_f1"],
    "macro_f1": lambda found: found.arm["macro_f1"],
    "bleu_score": lambda found: found.arm["bleu"],
    "chrf": lambda found: found.arm["chrf"],
    "rouge_1": lambda found: found.arm["rouge_1"],
    "rouge_2": lambda found: found.arm["rouge_2"],
    "rouge_l": lambda found: found.arm["rouge_l"],
    "bits_per_byte": lambda found: found.arm["bits_per_byte"],
    "calibration_error": lambda found: (found.arm["calibration"] or {}).get("ece"),
    "finished": lambda found: found.arm["finished"],
    "inference_time": lambda found: found.arm["latency_p50_s"],
    "inference_time_p95": lambda found: found.arm["latency_p95_s"],
    "first_token_time": lambda found: found.arm["first_token_p50_s"],
    "tokens_per_second": lambda found: found.arm["tokens_per_s"],
    "requests_per_second": lambda found: found.arm["requests_per_s"],
    "joules_per_request": lambda found: found.arm["joules_per_request"],
    "peak_memory_mib": lambda found: found.arm["peak_memory_mib"],
    "size_mib": lambda found: found.arm["size_mib"],
    "parameters": lambda found: found.arm["parameters"],
    "rows": lambda found: len(found.rows),
}
"""Scores in 0..1, but BLEU and chrF in 0..100; times in seconds, of one answer alone; what is
unknown on the machine is None. See docs/evaluation.md."""


def checked_metrics(names: Sequence[str] | None) -> tuple[str, ...]:
    """All of them where none is named. Raises ConfigError for one that is not known."""
    unknown = [name for name in names or () if name not in METRICS]
    if unknown:
        raise ConfigError(
            f"{unknown[0][:80]!r} is no metric", where="metrics", fix=f"use {', '.join(METRICS)}"
        )
    return tuple(names or METRICS)


def evaluate(task: Task) -> Outcome:
    """The summary holds the metrics that were asked for."""
    from mwalimu.evaluation.evaluate import require_references

    asked = task.job.spec.config
    metrics = checked_metrics(asked.get("metrics"))
    model = ModelStore(task.store.database).get(asked["model"], asked.get("version"))
    folder, test = task.workspace.root / model.folder, task.workspace.root / asked["test"]
    _require(folder, test, model)
    config = config_of(folder, test, model.properties)
    rows = load_records(test, task=config.task, split="test")
    require_references(rows)
    task.enter(State.RUNNING)
    run = Run(task.workspace.run(task.job.name))
    arm = measure(config, folder, rows, run, depends_on=asked, on_progress=task.tell)
    _require_answers(arm, config)
    task.enter(State.FINALIZING)
    found = Found(arm, _graded(run))
    return Outcome({name: METRICS[name](found) for name in metrics})


def _require(folder: Path, test: Path, model: RegisteredModel) -> None:
    if not folder.is_dir():
        raise DataError(
            "its files are gone", where=f"{model.name}@{model.version}", fix="register it again"
        )
    if not test.is_file():
        raise DataError("is not there any more", where="dataset", fix="upload it again")


def _require_answers(arm: Json, config: Config) -> None:
    """Zeros of a model that was never asked would be taken for its measure."""
    if arm["latency_p50_s"] is None:
        most = config.evaluate.max_tokens
        raise StudentError(
            f"no row leaves room for an answer of {most} tokens in its context",
            where="evaluate.max_tokens",
            fix="set it lower in the job that makes the model, or shorten the rows",
        )


def measure(
    config: Config,
    folder: Path,
    rows: Sequence[Record],
    run: Run,
    *,
    depends_on: Any,
    on_progress: Progress,
) -> Json:
    """The model in `folder` as the one arm of an evaluation; its scores are in the run folder too.

    `depends_on` is what a result depends on beside the config.
    """
    with importing():
        from mwalimu.evaluation.asking import Arm
        from mwalimu.evaluation.evaluate import evaluate as evaluate_arms

    summary = evaluate_arms(
        config,
        run,
        [Arm(ARM, folder, answers=None, usd_per_1k=None)],
        list(rows),
        stage_fingerprint=fingerprint([depends_on, config.model_dump(mode="json")]),
        on_progress=on_progress,
    )
    found: Json = summary["arms"][-1]
    return found


def config_of(folder: Path, test: Path, made_with: Mapping[str, Any]) -> Config:
    """For a model that exists: `made_with` are the properties it was registered with."""
    evaluate = made_with.get("evaluate") or {}
    raw = {
        "task": made_with.get("task") or "generic",
        "seed": made_with.get("seed") or 0,
        "data": {"train": str(test), "test": str(test)},
        "teacher": {"model": "fake"},
        "student": {"model": str(folder)},
        "evaluate": {key: evaluate[key] for key in KEPT if key in evaluate},
    }
    return build_config(raw, base=test.parent)


def _graded(run: Run) -> list[dict[str, Any]]:
    with open(run.path("evaluate", "predictions", f"{ARM}.jsonl"), "rb") as handle:
        return [json.loads(line) for line in handle]


def _exact_match(rows: Sequence[Json]) -> float:
    pairs = [(final_answer(row["prediction"]), row["reference"]) for row in rows]
    return sum(exact_match(*pair) for pair in pairs) / len(pairs)
