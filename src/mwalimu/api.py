"""The verbs as functions. The command line, notebooks and job workers all call these.

    config = load_config(Path("distill.yaml"))
    run(config, Path("runs/mine"))

and in the words of a notebook:

    training = load_dataset("prompts.jsonl")
    teacher = load_model("deepseek-ai/DeepSeek-V3", base_url="http://localhost:8000/v1")
    data = generate_teacher_responses(teacher, training)
    student = fine_tune_student(load_model("microsoft/Phi-4-mini-instruct"), data)
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mwalimu.config import Config, build_config, load_config
from mwalimu.data.dataset import load_records
from mwalimu.data.record import Record
from mwalimu.errors import DataError
from mwalimu.pipeline import Pipeline, Progress, silent

if TYPE_CHECKING:
    from mwalimu.estimate import Estimate
    from mwalimu.registry import Model as KnownModel

__all__ = [
    "Model",
    "estimate",
    "evaluate",
    "fine_tune_student",
    "finetune",
    "generate",
    "generate_teacher_responses",
    "init",
    "load_config",
    "load_dataset",
    "load_model",
    "models",
    "report",
    "run",
    "train_quickstart_models",
    "write_quickstart",
]

DEFAULT_STORE = Path(".mwalimu") / "answers"


def estimate(
    config: Config,
    *,
    probe: int = 0,
    store: Path = DEFAULT_STORE,
    folder: Path | None = None,
    memory: str | None = None,
    device: Literal["cpu", "cuda"] | None = None,
    progress: Progress = silent,
) -> Estimate:
    """What the job will take, before it takes it. Spends nothing without a `probe`.

    `probe` rows are really asked, on the account of the run in `folder`; their answers are kept
    in `store`, where a run finds them. `memory`, such as "24GB", and `device` are those of the
    machine that will train; this one's where they are left out.
    """
    from mwalimu.estimate import Room
    from mwalimu.estimate import estimate as estimate_job
    from mwalimu.finetune.footprint import parse_memory

    room = Room(device, None if memory is None else parse_memory(memory))
    return estimate_job(
        config, store=store, folder=folder, probe=probe, room=room, on_progress=progress
    )


def generate(
    config: Config, folder: Path, *, store: Path = DEFAULT_STORE, progress: Progress = silent
) -> dict[str, Any]:
    """Stage 1 on the run folder; returns the ledger's counts."""
    return Pipeline(config, folder, store=store, progress=progress).generate()


def finetune(
    config: Config, folder: Path, *, store: Path = DEFAULT_STORE, progress: Progress = silent
) -> dict[str, Any]:
    """Stage 2 on the run folder; the student is in `finetune/student`."""
    return Pipeline(config, folder, store=store, progress=progress).finetune()


def evaluate(
    config: Config, folder: Path, *, store: Path = DEFAULT_STORE, progress: Progress = silent
) -> dict[str, Any]:
    """The arms on the held-out rows; returns the scores."""
    return Pipeline(config, folder, store=store, progress=progress).evaluate()


def report(config: Config, folder: Path) -> tuple[Path, Path]:
    """Writes the report again; returns the paths of report.md and report.html."""
    return Pipeline(config, folder, store=DEFAULT_STORE).report()


def run(
    config: Config, folder: Path, *, store: Path = DEFAULT_STORE, progress: Progress = silent
) -> dict[str, Any]:
    """All stages that are not done yet; returns the scores."""
    return Pipeline(config, folder, store=store, progress=progress).execute()


def models(*words: str, returns: str | None = None, trainable: bool = False) -> list[KnownModel]:
    """The teachers of the registry that fit all words, or the one that is called so.

    `returns="logprobs"` leaves those that report log-probabilities, `trainable` those whose terms
    do not restrict training on their output.
    """
    from mwalimu.registry import search

    return search(words, returns=returns, trainable=trainable)


def init(folder: Path) -> Path:
    """A starter job in a new folder; returns the path of its distill.yaml."""
    from mwalimu.starter import write_starter

    return write_starter(folder)


def write_quickstart(folder: Path) -> Path:
    """The embedded job's data and config; returns the path of its distill.yaml."""
    from mwalimu.quickstart.job import write_job

    return write_job(folder)


def train_quickstart_models(folder: Path, *, progress: Progress = silent) -> dict[str, float]:
    """Trains the shipped teacher and the base student again; returns the teacher's accuracies."""
    from mwalimu.quickstart.recipe import train_models

    return train_models(folder, progress)


@dataclass(frozen=True, slots=True)
class Model:
    """A model by name. Nothing is loaded before it is used: a teacher may be a server."""

    name: str
    base_url: str | None = None
    settings: tuple[tuple[str, Any], ...] = ()


def load_model(name: str, *, base_url: str | None = None, **settings: Any) -> Model:
    """A teacher or a student: a folder, a hub id, a name at `base_url`, or "fake".

    `settings` are those of the config's `teacher` or `student` section.
    """
    return Model(name, base_url, tuple(sorted(settings.items())))


def load_dataset(path: str | Path, *, task: str = "generic") -> list[Record]:
    """Rows of a JSONL, CSV or Parquet file. Raises DataError naming every bad row."""
    return load_records(Path(path), task=task, split=Path(path).name.split(".")[0])


def generate_teacher_responses(
    teacher_model: Model,
    dataset: list[Record],
    *,
    store: Path = DEFAULT_STORE,
    progress: Progress = silent,
) -> list[Record]:
    """The rows with the teacher's accepted answers as references; rejected rows are left out."""
    from mwalimu.synthesis.generate import answer

    if not dataset:
        raise DataError("has no rows", where="generate_teacher_responses")
    teacher: dict[str, Any] = {"model": teacher_model.name, **dict(teacher_model.settings)}
    if teacher_model.base_url:
        teacher["base_url"] = teacher_model.base_url
    config = _config(teacher=teacher)
    outcomes, _ = answer(config, store, dataset, run_id="", on_progress=progress)
    return [
        replace(outcome.record, reference=outcome.text)
        for outcome in outcomes
        if outcome.status == "ok"
    ]


def fine_tune_student(
    student_model: Model,
    training_data: list[Record],
    validation_data: list[Record] | None = None,
    *,
    output: str | Path | None = None,
    progress: Progress = silent,
    **finetune_settings: Any,
) -> Model:
    """Trains the student on the rows' references; returns it, saved as a transformers folder.

    `output` defaults to a new temporary folder; `finetune_settings` are the config's.
    """
    from mwalimu.finetune.finetune import train_student

    config = _config(
        student={"model": student_model.name, **dict(student_model.settings)},
        finetune=finetune_settings,
    )
    folder = Path(output) if output else Path(tempfile.mkdtemp(prefix="mwalimu-"))
    train_student(
        config.student,
        config.finetune,
        [record.to_json() for record in training_data],
        [record.to_json() for record in validation_data] if validation_data else None,
        folder,
        seed=config.seed,
        stage_fingerprint="",
        on_progress=progress,
    )
    return Model(str(folder / "student"))


def _config(**sections: Any) -> Config:
    raw: dict[str, Any] = {
        "task": "generic",
        "data": {"train": "unused"},
        "teacher": {"model": "fake"},
        "student": {"model": "unused"},
    }
    return build_config(raw | sections, base=Path.cwd())
