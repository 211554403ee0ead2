"""A stage at a time, on the same run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mwalimu.commands.places import require_run, run_folders
from mwalimu.commands.working import (
    JOB,
    ConfigFile,
    MinOk,
    Overrides,
    RunFolder,
    opened,
    print_summary,
    print_table,
    require_gates,
    show_terms,
    with_min_ok,
)

app = typer.Typer()


@app.command()
def synthesise(config: ConfigFile = JOB, run: RunFolder = None, set_: Overrides = None) -> None:
    """Before stage 1: the teacher writes prompts from seeds, topics, personas or documents."""
    with opened(config, run, set_) as pipeline:
        show_terms(pipeline.asked)
        summary = pipeline.synthesise()
    print_summary(summary)


@app.command()
def prepare(config: ConfigFile = JOB, run: RunFolder = None, set_: Overrides = None) -> None:
    """Before stage 1: duplicates, contamination, personal data, balance, selection."""
    with opened(config, run, set_) as pipeline:
        summary = pipeline.prepare()
    print_summary(summary)
    if not summary:
        typer.echo("checked; the config leaves no row out")


@app.command()
def generate(
    config: ConfigFile = JOB, run: RunFolder = None, min_ok: MinOk = None, set_: Overrides = None
) -> None:
    """Stage 1: the teacher answers the prompts."""
    overrides = with_min_ok(set_, min_ok)
    with opened(config, run, overrides) as pipeline:
        show_terms(pipeline.config)
        summary = pipeline.generate()
    print_summary(summary)


@app.command()
def curate(config: ConfigFile = JOB, run: RunFolder = None, set_: Overrides = None) -> None:
    """Between the stages: leaves out answers that are not worth learning, with the reason."""
    with opened(config, run, set_) as pipeline:
        summary = pipeline.curate()
    print_summary(summary)


@app.command()
def finetune(config: ConfigFile = JOB, run: RunFolder = None, set_: Overrides = None) -> None:
    """Stage 2: the student learns the teacher's answers."""
    with opened(config, run, set_) as pipeline:
        summary = pipeline.finetune()
    print_summary(summary)


@app.command("lr")
def learning_rate(config: ConfigFile = JOB, run: RunFolder = None, set_: Overrides = None) -> None:
    """Before stage 2: a range test on the job's own rows suggests finetune.learning_rate."""
    with opened(config, run, set_) as pipeline:
        found = pipeline.find_learning_rate()
    typer.echo(found.in_words)
    typer.echo(f"curve: {pipeline.run.path('finetune', 'lr_finder.json')}")


@app.command()
def evaluate(
    config: ConfigFile = JOB,
    run: RunFolder = None,
    harness: Annotated[
        str | None,
        typer.Option("--harness", help="tasks of lm-evaluation-harness instead, with commas"),
    ] = None,
    harness_tasks: Annotated[
        Path | None, typer.Option("--harness-tasks", help="a folder of its task files")
    ] = None,
    harness_limit: Annotated[
        int | None, typer.Option("--harness-limit", help="rows a task", min=1)
    ] = None,
    set_: Overrides = None,
) -> None:
    """The student against the teacher and the baselines, on held-out rows."""
    with opened(config, run, set_) as pipeline:
        if harness:
            tasks = [task.strip() for task in harness.split(",") if task.strip()]
            found = pipeline.harness(tasks, include=harness_tasks, limit=harness_limit)
            for task, numbers in found["tasks"].items():
                print_summary({f"{task} {name}": value for name, value in numbers.items()})
            return
        summary = pipeline.evaluate()
    print_table(summary)
    require_gates(summary)


@app.command()
def report(
    targets: Annotated[
        list[Path],
        typer.Argument(
            help="a distill.yaml, or run folders: several are compared", autocompletion=run_folders
        ),
    ],
    run: RunFolder = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="of a comparison [default: beside the first run]")
    ] = None,
    set_: Overrides = None,
) -> None:
    """Writes report.md and report.html again; of several runs, comparison.md and .html."""
    from mwalimu import api

    for target in targets:
        if len(targets) > 1 or not target.is_file():
            require_run(target)
    if len(targets) > 1:
        paths = api.compare(targets, out or targets[0].resolve().parent)
    elif targets[0].is_dir():
        paths = api.report_of(targets[0])
    else:
        with opened(targets[0], run, set_) as pipeline:
            paths = pipeline.report()
    typer.echo("\n".join(str(path) for path in paths))
