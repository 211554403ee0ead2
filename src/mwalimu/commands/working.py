"""What the commands share: their common options, a job's pipeline, and how results are shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mwalimu.commands.places import require_job, run_folders

if TYPE_CHECKING:
    from mwalimu.config import Config
    from mwalimu.pipeline import Pipeline

JOB = Path("distill.yaml")
"""The job that is meant where none is named."""

ConfigFile = Annotated[Path, typer.Argument(help="the job's distill.yaml")]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--run",
        help="run folder [default: runs/<folder of the config>]",
        autocompletion=run_folders,
    ),
]
SomeRun = Annotated[
    Path, typer.Argument(help="a run folder, such as runs/mine", autocompletion=run_folders)
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="key=value, as in --set finetune.epochs=2")
]
MinOk = Annotated[
    float | None,
    typer.Option("--min-ok", min=0, max=1, help="accepted share below this fails [default: 1]"),
]


def load(config: Path, overrides: list[str] | None) -> Config:
    from mwalimu.config import load_config

    require_job(config)
    return load_config(config, overrides or [])


@contextmanager
def opened(config: Path, run: Path | None, overrides: list[str] | None) -> Iterator[Pipeline]:
    """Of several processes the first one holds the run folder and shows how far they are."""
    from mwalimu.files import exclusive
    from mwalimu.pipeline import Pipeline
    from mwalimu.progress import live_progress, silent
    from mwalimu.run import launched

    resolved = load(config, overrides)
    root = run or Path("runs") / config.resolve().parent.name
    store = Path(".mwalimu") / "answers"
    if launched()[0]:
        yield Pipeline(resolved, root, store=store, progress=silent)
        return
    with exclusive(root, "run folder"), live_progress() as progress:
        yield Pipeline(resolved, root, store=store, progress=progress)


def with_min_ok(overrides: list[str] | None, min_ok: float | None) -> list[str]:
    chosen = [] if min_ok is None else [f"generate.min_ok={min_ok}"]
    return [*(overrides or []), *chosen]


def named_students(students: str | None) -> list[str]:
    """As an override; a folder is one of here, not of the folder of distill.yaml."""
    import json

    names = [name.strip() for name in (students or "").split(",") if name.strip()]
    placed = [str(Path(name).absolute()) if Path(name).is_dir() else name for name in names]
    return [f"tune.students={json.dumps(placed)}"] if placed else []


def show_terms(config: Config) -> None:
    """Before the first call: what the teachers' terms say of training on their answers."""
    from mwalimu.config.routing import terms_notice

    for teacher in config.teachers():
        if notice := terms_notice(teacher):
            typer.echo(f"terms: {notice}", err=True)


def print_summary(summary: dict[str, Any]) -> None:
    from mwalimu.run import launched

    if launched()[0]:
        return
    for key, value in summary.items():
        if isinstance(value, str | int | float):
            typer.echo(f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}")


def print_table(summary: dict[str, Any]) -> None:
    from rich.console import Console

    from mwalimu.report import render_table

    Console().print(render_table(summary))


def require_gates(summary: dict[str, Any]) -> None:
    """Last of all: what was measured is published and shown, whatever the gate says."""
    from mwalimu import api

    api.require_gates(summary)
