"""A whole job: the embedded one, a starter, what it will take, all its stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mwalimu.commands.export import show_exports
from mwalimu.commands.working import (
    JOB,
    ConfigFile,
    MinOk,
    Overrides,
    RunFolder,
    load,
    named_students,
    opened,
    print_summary,
    print_table,
    require_gates,
    show_terms,
    with_min_ok,
)

app = typer.Typer()

_ABOUT_QUICKSTART = (
    "A shipped teacher answers, a student a ninth its size learns from it, both are compared.\n"
    "Minutes on two cores. Ctrl-C is safe: the same command goes on."
)


@app.command()
def quickstart(
    folder: Annotated[Path, typer.Option("--dir", help="where the job is made and run")] = Path(
        "quickstart"
    ),
    train_teacher: Annotated[
        bool, typer.Option("--train-teacher", help="make the shipped models again, in --dir/models")
    ] = False,
    set_: Overrides = None,
) -> None:
    """The embedded job: a teacher that ships with mwalimu, distilled and compared."""
    from mwalimu import api

    if train_teacher:
        from mwalimu.progress import live_progress

        with live_progress() as progress:
            scores = api.train_quickstart_models(folder / "models", progress=progress)
        typer.echo("  ".join(f"{task} {score:.1%}" for task, score in scores.items()))
        return
    typer.echo(_ABOUT_QUICKSTART, err=True)
    path = api.write_quickstart(folder)
    _run_all(path, folder / "run", set_)
    typer.echo(f"next: mwalimu serve {folder / 'run'}; or a job of your own: mwalimu init my-job")


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="a new folder for the job")]) -> None:
    """A starter job: distill.yaml, example prompts, a README."""
    from mwalimu import api

    path = api.init(folder)
    typer.echo(f"made {path}; next: mwalimu estimate {path}, then mwalimu run {path}")


@app.command()
def estimate(
    config: ConfigFile = JOB,
    run: RunFolder = None,
    probe: Annotated[
        int, typer.Option("--probe", min=0, help="really ask so many rows, and measure")
    ] = 0,
    memory: Annotated[
        str | None, typer.Option("--memory", help="that training may have, such as 24GB")
    ] = None,
    device: Annotated[
        Literal["cpu", "cuda"] | None,
        typer.Option("--device", help="where training will run, if not here"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="everything, for programs")] = False,
    set_: Overrides = None,
) -> None:
    """Requests, tokens, dollars, minutes and memory of a job. Spends nothing without --probe."""
    import json

    from mwalimu import api
    from mwalimu.progress import live_progress

    job = load(config, set_)
    folder = run or Path("runs") / config.resolve().parent.name
    with live_progress() as progress:
        found = api.estimate(
            job, probe=probe, folder=folder, memory=memory, device=device, progress=progress
        )
    typer.echo(json.dumps(found.to_json(), indent=1) if as_json else "\n".join(found.lines()))


@app.command()
def run(
    config: ConfigFile = JOB,
    run: RunFolder = None,
    min_ok: MinOk = None,
    from_traffic: Annotated[
        Path | None,
        typer.Option("--from-traffic", help="learn what 'mwalimu serve --traffic' kept, too"),
    ] = None,
    auto: Annotated[
        bool,
        typer.Option("--auto", help="the whole job under --budget: buy, search, run the choice"),
    ] = False,
    budget: Annotated[
        str | None, typer.Option("--budget", help="of --auto: 6h, 20usd, 30trials, or several")
    ] = None,
    students: Annotated[
        str | None,
        typer.Option("--students", help="of --auto: models that may learn, with commas"),
    ] = None,
    set_: Overrides = None,
) -> None:
    """All stages: generate, curate, finetune, evaluate, export, report. Goes on where it was."""
    if not auto and (budget or students):
        raise typer.BadParameter("--budget and --students are of --auto")
    overrides = [*with_min_ok(set_, min_ok), *_traffic(from_traffic), *named_students(students)]
    overrides += [] if budget is None else [f"auto.budget={budget}"]
    _run_all(config, run, overrides, auto=auto)


def _run_all(
    config: Path, run: Path | None, overrides: list[str] | None, *, auto: bool = False
) -> None:
    from mwalimu import api

    with opened(config, run, overrides) as pipeline:
        show_terms(pipeline.config)
        pipeline, summary = api.execute(pipeline, auto=auto)
    if "arms" in summary:
        print_table(summary)
    else:
        print_summary(summary)
        typer.echo("not evaluated: name a file of held-out rows in data.test")
    if "export" in summary:
        show_exports(summary["export"])
    typer.echo(f"report: {pipeline.run.path('report.html')}")
    require_gates(summary)


def _traffic(folder: Path | None) -> list[str]:
    """From here, not from the folder of distill.yaml."""
    import json

    return [] if folder is None else [f"data.traffic={json.dumps(str(folder.absolute()))}"]
