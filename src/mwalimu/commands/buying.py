"""What more answers would bring, and buying them while they pay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mwalimu.commands.places import require_run, run_folders
from mwalimu.commands.working import JOB, ConfigFile, Overrides, RunFolder, opened, show_terms

app = typer.Typer()


@app.command()
def forecast(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="run folders; of one alone, smaller ones are trained", autocompletion=run_folders
        ),
    ],
    rows: Annotated[
        list[int] | None,
        typer.Option("--rows", min=1, help="more rows to ask about [default: half and all again]"),
    ] = None,
    parameters: Annotated[
        int | None, typer.Option("--parameters", min=1, help="size of a student to ask about")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="everything, for programs")] = False,
) -> None:
    """How much better more rows, or another size, would make the student. Asks no teacher."""
    import json

    from mwalimu import api
    from mwalimu.progress import live_progress

    for run in runs:
        require_run(run)
    with live_progress() as progress:
        found = api.forecast(runs, more=rows or (), parameters=parameters, progress=progress)
    typer.echo(json.dumps(found.to_json(), indent=1) if as_json else "\n".join(found.lines()))


@app.command()
def buy(config: ConfigFile = JOB, run: RunFolder = None, set_: Overrides = None) -> None:
    """Stages 1 and 2 in rounds: answers are bought where the student is unsure, while they pay."""
    from mwalimu.buying.rounds import buy as buy_rounds

    with opened(config, run, set_) as pipeline:
        show_terms(pipeline.asked)
        bought = buy_rounds(pipeline)
    for decision in bought.run.manifest["buying"]["decisions"]:
        typer.echo(decision["said"])
