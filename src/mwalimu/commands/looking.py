"""What there is: this machine, and the models that are known by name."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def doctor() -> None:
    """What this machine can do, what is missing, what to install."""
    from mwalimu.doctor import findings

    for line in findings():
        typer.echo(line)


@app.command()
def models(
    words: Annotated[list[str] | None, typer.Argument(help="a name, or words to look for")] = None,
    returns: Annotated[str | None, typer.Option("--returns", help="text or logprobs")] = None,
    trainable: Annotated[
        bool, typer.Option("--trainable", help="only those whose terms let others learn from them")
    ] = False,
    students: Annotated[
        bool, typer.Option("--students", help="the students, with size and needed memory")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="everything, for programs")] = False,
) -> None:
    """The teachers that are known by name: routes, prices, what their terms allow."""
    from rich.console import Console

    from mwalimu.errors import ConfigError
    from mwalimu.registry import display, search
    from mwalimu.registry.catalogue import catalogue
    from mwalimu.registry.students import nearest_names

    if students:
        _show_students(words or [], as_json)
        return
    found = search(words or [], returns=returns, trainable=trainable)
    if as_json:
        typer.echo(display.as_json(found))
    elif not found:
        near = nearest_names(" ".join(words or []), catalogue().index)
        raise ConfigError(
            "no model fits", where="models", fix=f"{_meant(near)}list all with 'mwalimu models'"
        )
    elif len(found) == 1:
        typer.echo("\n".join(display.details(found[0])))
    else:
        Console().print(display.table(found))


def _show_students(words: list[str], as_json: bool) -> None:
    from rich.console import Console

    from mwalimu.errors import ConfigError
    from mwalimu.registry import display, search_students
    from mwalimu.registry.catalogue import catalogue
    from mwalimu.registry.students import nearest_names

    found = search_students(words)
    if as_json:
        typer.echo(display.students_as_json(found))
    elif not found:
        near = nearest_names(" ".join(words), catalogue().student_index)
        raise ConfigError(
            "no student fits",
            where="models",
            fix=f"{_meant(near)}list all with 'mwalimu models --students'",
        )
    elif len(found) == 1:
        typer.echo("\n".join(display.student_details(found[0])))
    else:
        Console().print(display.student_table(found))


def _meant(near: list[str]) -> str:
    return f"did you mean {' or '.join(near)}? " if near else ""
