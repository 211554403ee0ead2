"""`mwalimu signals`: the cache of what the teacher said, captured, looked at, verified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mwalimu.commands.working import JOB, ConfigFile, Overrides, RunFolder, opened, print_summary

app = typer.Typer(
    name="signals", help="What the teacher said, token by token.", no_args_is_help=True
)

SignalFolder = Annotated[Path, typer.Argument(help="such as runs/mine/signals/sampled/train")]


@app.command("capture")
def capture(config: ConfigFile = JOB, run: RunFolder = None, set_: Overrides = None) -> None:
    """Between the stages: keeps what the objective needs of the teacher's distribution."""
    with opened(config, run, set_) as pipeline:
        summary = pipeline.signals()
    print_summary(summary)
    if not summary:
        typer.echo("the objective needs no signals")


@app.command("inspect")
def inspect_folder(folder: SignalFolder) -> None:
    """Whose signals a folder holds, and how."""
    from mwalimu.signals.checks import inspect

    typer.echo("\n".join(inspect(folder)))


@app.command("verify")
def verify_folder(folder: SignalFolder) -> None:
    """Reads and decodes everything in a folder; fails at the first damage."""
    from mwalimu.signals.checks import verify

    typer.echo("\n".join(verify(folder)))
