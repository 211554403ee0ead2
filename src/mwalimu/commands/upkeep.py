"""`mwalimu status` and `mwalimu runs`: how far a run is, whether it is whole, what mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mwalimu.commands.places import require_run, run_folders
from mwalimu.commands.working import SomeRun

top = typer.Typer()
app = typer.Typer(
    name="runs", help="Run folders: verify, repair, clear, back up.", no_args_is_help=True
)

Answers = Annotated[Path, typer.Option("--answers", help="the answer store, where there is one")]
STORE = Path(".mwalimu") / "answers"


@top.command()
def status(run: SomeRun, answers: Answers = STORE) -> None:
    """How far a run is, stage by stage; it may be going on."""
    from mwalimu.upkeep.status import status as told

    require_run(run)
    for line in told(run, answers):
        typer.echo(line)


@app.command()
def verify(run: SomeRun, answers: Answers = STORE) -> None:
    """Every published file against its hash, every answer against its checksum."""
    from mwalimu.errors import RunError
    from mwalimu.upkeep.checking import check_answers, check_run

    require_run(run)
    lines = list(check_run(run))
    if answers.exists():
        lines += check_answers(answers)
    for line in lines:
        mark = f"; {line.fix}" if line.fix else ""
        typer.echo(f"{line.what:<9} {line.said}{mark}")
    if wrong := [line for line in lines if line.fix]:
        fix = "what to do stands behind each"
        raise RunError(f"{len(wrong)} of {len(lines)} are not whole", where=str(run), fix=fix)


@app.command()
def repair(
    run: Annotated[
        Path | None,
        typer.Argument(help="a run folder; none with --answers", autocompletion=run_folders),
    ] = None,
    answers: Annotated[
        Path | None, typer.Option("--answers", help="make the index of this answer store again")
    ] = None,
) -> None:
    """Removes what unfinished writing left; with --answers makes an answer store's index again."""
    from mwalimu.errors import ConfigError
    from mwalimu.synthesis.checking import rebuild_index
    from mwalimu.upkeep.leftovers import repair as mend

    if run is None and answers is None:
        fix = "name a run folder, or an answer store with --answers"
        raise ConfigError("nothing to repair", where="runs repair", fix=fix)
    if run is not None:
        require_run(run)
        for path in mend(run):
            typer.echo(f"removed {path}")
    if answers is not None:
        typer.echo(f"{rebuild_index(answers):,} answers indexed")


@app.command()
def gc(
    run: SomeRun,
    arms: Annotated[
        bool, typer.Option("--arms", help="the baselines' weights too; evaluating makes them again")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would go")] = False,
) -> None:
    """Frees what a finished run no longer needs; what was paid for stays."""
    from mwalimu.upkeep.leftovers import collect_garbage

    require_run(run)
    paths, size = collect_garbage(run, arms=arms, dry=dry_run)
    for path in paths:
        typer.echo(f"{'would remove' if dry_run else 'removed'} {path}")
    typer.echo(f"{size:,} bytes")


@app.command()
def backup(
    run: SomeRun,
    target: Annotated[Path, typer.Argument(help="a folder that is not there yet")],
    answers: Answers = STORE,
) -> None:
    """A copy of a run and of the answer store, also while they are being written."""
    from mwalimu.upkeep.backup import back_up

    require_run(run)
    typer.echo(f"{back_up(run, answers, target):,} bytes in {target}")
