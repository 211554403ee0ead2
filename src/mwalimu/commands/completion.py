"""`mwalimu completion`: what a shell needs to complete verbs, options and run folders."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

app = typer.Typer()

VARIABLE = "_MWALIMU_COMPLETE"
"""Set by the shell when it asks what may come next."""


@app.command()
def completion(
    context: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="bash, zsh or fish")],
) -> None:
    """Prints the script that makes a shell complete verbs, options and run folders."""
    from typer.completion import shell_complete

    teach_shells()
    shell_complete(context.find_root().command, {}, "mwalimu", VARIABLE, f"source_{shell}")


def teach_shells() -> None:
    """Makes typer know the shells, as it does by itself where it adds options of its own."""
    from typer.completion import get_completion_inspect_parameters

    get_completion_inspect_parameters()
