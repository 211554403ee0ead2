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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mwalimu.config import Config, TargetConfig, build_config, load_config
from mwalimu.data.dataset import load_records
from mwalimu.data.record import Record
from mwalimu.errors import DataError
from mwalimu.garbage import importing
from mwalimu.pipeline import Pipeline
from mwalimu.progress import Progress, silent
from mwalimu.run import Run
from mwalimu.serving.serve import serve, serve_by_vllm

if TYPE_CHECKING:
    from mwalimu.buying.telling import Told
    from mwalimu.data.formats.checking import Findings
    from mwalimu.data.formats.converting import Converted
    from mwalimu.data.inspecting import Inspection
    from mwalimu.estimate import Estimate
    from mwalimu.registry import Model as KnownModel
    from mwalimu.synthesis.importing import Imported
    from mwalimu.tuning.conclusion import Conclusion

__all__ = [
    "Model",
    "buy",
    "compare",
    "convert_data",
    "curate",
    "estimate",
    "evaluate",
    "execute",
    "export",
    "fine_tune_student",
    "finetune",
    "forecast",
    "generate",
    "generate_teacher_responses",
    "import_answers",
    "init",
    "inspect_data",
    "load_config",
    "load_dataset",
    "load_model",
    "models",
    "prepare",
    "report",
    "report_of",
    "require_gates",
    "run",
    "serve",
    "serve_by_vllm",
    "synthesise",
    "train_quickstart_models",
    "tune",
    "validate_data",
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


def inspect_data(
    path: Path, *, format: str | None = None, task: str = "generic", requests: Path | None = None
) -> Inspection:
    """What a file of rows holds, in whatever format; `requests` is the input file of a batch."""
    from mwalimu.data.formats.source import open_source
    from mwalimu.data.inspecting import inspect_rows

    return inspect_rows(open_source(path, task=task, name=format, requests=requests))


def validate_data(
    path: Path, *, format: str | None = None, task: str = "generic", requests: Path | None = None
) -> Findings:
    """Every problem of a file, by the rules of its format."""
    from mwalimu.data.formats.checking import check
    from mwalimu.data.formats.source import open_source

    return check(open_source(path, task=task, name=format, requests=requests))


def convert_data(
    path: Path,
    out: Path,
    *,
    to: str,
    format: str | None = None,
    task: str = "generic",
    requests: Path | None = None,
) -> Converted:
    """Writes the rows of `path` into `out` in format `to`; tells what that cannot hold."""
    from mwalimu.data.formats.converting import convert
    from mwalimu.data.formats.source import open_source

    return convert(open_source(path, task=task, name=format, requests=requests), out, to)


def import_answers(
    config: Config,
    path: Path,
    *,
    format: str | None = None,
    requests: Path | None = None,
    model: str | None = None,
    store: Path = DEFAULT_STORE,
) -> Imported:
    """Answers that were paid for elsewhere into the answer store, where the job finds them.

    `model` is what the file calls the job's teacher, where that is not `teacher.model`.
    """
    from mwalimu.data.formats.source import open_source
    from mwalimu.synthesis.importing import import_answers as take_in

    source = open_source(path, task=config.task, name=format, requests=requests)
    return take_in(config, source, store, model=model)


def synthesise(
    config: Config, folder: Path, *, store: Path = DEFAULT_STORE, progress: Progress = silent
) -> dict[str, Any]:
    """Before stage 1: the teacher writes prompts; they are in `prompts/train.jsonl`."""
    return Pipeline(config, folder, store=store, progress=progress).synthesise()


def prepare(
    config: Config, folder: Path, *, store: Path = DEFAULT_STORE, progress: Progress = silent
) -> dict[str, Any]:
    """Stage 0 on the run folder: checks the prompts and leaves out what the config says.

    Returns the number of rows left of each split; nothing where the config asks for checks alone.
    """
    return Pipeline(config, folder, store=store, progress=progress).prepare()


def generate(
    config: Config, folder: Path, *, store: Path = DEFAULT_STORE, progress: Progress = silent
) -> dict[str, Any]:
    """Stage 1 on the run folder; returns the ledger's counts."""
    return Pipeline(config, folder, store=store, progress=progress).generate()


def curate(
    config: Config, folder: Path, *, store: Path = DEFAULT_STORE, progress: Progress = silent
) -> dict[str, Any]:
    """Stage 1's rows that are worth learning; returns how many came in, went out, and fell why."""
    return Pipeline(config, folder, store=store, progress=progress).curate()


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


def export(
    folder: Path,
    targets: Sequence[TargetConfig] = (),
    *,
    overrides: Sequence[str] = (),
    progress: Progress = silent,
) -> dict[str, Any]:
    """The student of a run folder in the formats of its config and those of `targets`.

    Returns the summary: `exports` with their scores, `failed` with the reasons, `pick`. What fails
    stops no other. `overrides` are `key=value`, as `export.require.agreement=0.9`.

    Raises:
        RunError: the folder is no run, or its student is not trained.
        ConfigError: there is nothing to export.
    """
    from mwalimu.shipping.targets import with_targets

    config = with_targets(load_config(folder / "config.yaml", overrides), targets)
    return Pipeline(config, folder, store=DEFAULT_STORE, progress=progress).export()


def report(config: Config, folder: Path) -> tuple[Path, Path]:
    """Writes the report again; returns the paths of report.md and report.html."""
    return Pipeline(config, folder, store=DEFAULT_STORE).report()


def report_of(folder: Path) -> tuple[Path, Path]:
    """The same of a run folder alone.

    Raises:
        RunError: its finetune stage is not finished.
    """
    from mwalimu.report import write_report

    return write_report(Run(folder))


def compare(folders: Sequence[Path], out: Path) -> tuple[Path, Path]:
    """Writes comparison.md and comparison.html into `out`: the first run against each other one.

    Raises:
        RunError: there is one folder only, or one has no finished finetune stage.
    """
    from mwalimu.report.comparison import write_comparison

    return write_comparison([Run(folder) for folder in folders], out)


def run(
    config: Config,
    folder: Path,
    *,
    auto: bool = False,
    store: Path = DEFAULT_STORE,
    progress: Progress = silent,
) -> dict[str, Any]:
    """All stages that are not done yet; returns the scores.

    With the section `active` answers are bought in rounds, while they pay. `auto` is the whole job
    under `config.auto.budget`: it buys, searches a recipe and a student, and runs what it chose.
    """
    return execute(Pipeline(config, folder, store=store, progress=progress), auto=auto)[1]


def execute(pipeline: Pipeline, *, auto: bool = False) -> tuple[Pipeline, dict[str, Any]]:
    """The same of a pipeline; returns the one on what was learned, too."""
    from mwalimu.auto.execute import execute as execute_all

    return execute_all(pipeline, auto=auto)


def buy(
    config: Config, folder: Path, *, store: Path = DEFAULT_STORE, progress: Progress = silent
) -> list[dict[str, Any]]:
    """Stages 1 and 2 in rounds, as the section `active` says; returns what was decided after each.

    The answers are those of `generate`, the student of the last round that of `finetune`.
    """
    from mwalimu.buying.rounds import buy as buy_rounds

    bought = buy_rounds(Pipeline(config, folder, store=store, progress=progress))
    return list(bought.run.manifest["buying"]["decisions"])


def forecast(
    folders: Sequence[Path],
    *,
    more: Sequence[int] = (),
    parameters: int | None = None,
    progress: Progress = silent,
) -> Told:
    """What `more` rows, or a student of so many parameters, would bring, from runs that are there.

    Of one run alone smaller ones are trained on parts of its rows; no teacher is asked.

    Raises:
        RunError: a folder is no finished run, or was not evaluated.
        DataError: the runs are too few, or were graded on different rows.
    """
    from mwalimu.buying.telling import Told

    return Told.of(folders, more=more, parameters=parameters, progress=progress)


def require_gates(summary: dict[str, Any]) -> None:
    """Of what `run` returned: raises GateFailed, or the error of an export that was not made."""
    from mwalimu.evaluation.gate import require_passed
    from mwalimu.shipping import gate as of_exports

    require_passed(summary)
    if exported := summary.get("export"):
        of_exports.require_made(exported)
        of_exports.require_passed(exported)


def tune(
    config: Config,
    folder: Path,
    *,
    budget: str | None = None,
    parallel: int | None = None,
    allow_spend: bool = False,
    store: Path = DEFAULT_STORE,
    progress: Progress = silent,
) -> Conclusion:
    """Searches for the recipe that makes the best student; `tuning/best.yaml` holds it.

    `budget` is such as "2h,50trials", and like `parallel` the config's own where it is left out. A
    search that was stopped goes on. Trials ask no teacher that costs unless `allow_spend`.
    """
    from mwalimu.tuning.tune import tune as search
    from mwalimu.tuning.tune import with_settings

    asked = with_settings(config, budget=budget, parallel=parallel)
    pipeline = Pipeline(asked, folder, store=store, progress=progress)
    return search(pipeline, allow_spend=allow_spend)


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
    with importing():
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
