"""The help of every command ends with examples that the command line understands."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from mwalimu.cli import app
from mwalimu.commands.examples import EXAMPLES
from tests.deploy.commands import parse

TREE: Any = typer.main.get_command(app)


def below(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from below(inner, f"{path} {name}".strip())


COMMANDS = dict(below(TREE))
LINES = [(path, line) for path, lines in EXAMPLES.items() for line in lines]


def test_every_command_has_examples_and_none_is_of_another() -> None:
    assert len(COMMANDS) > 60
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=str)
def test_help_shows_them_as_they_are_typed(path: str) -> None:
    command = COMMANDS[path]
    context = command.context_class(command, info_name="mwalimu", terminal_width=80)
    shown = command.get_help(context).splitlines()
    for line in EXAMPLES[path]:
        assert f"    {line}" in shown
    assert "  Examples:" in shown or "  Example:" in shown


@pytest.mark.parametrize(("path", "line"), LINES, ids=[line for _, line in LINES])
def test_each_is_understood_and_is_of_its_command(path: str, line: str) -> None:
    name, *words = shlex.split(line.split(" >")[0], comments=True)
    assert name == "mwalimu"
    parse(words)
    assert not path or path in " ".join(words)


def test_help_of_all_builds_no_parser_of_one() -> None:
    fresh: Any = typer.main.get_command(app)
    shown = fresh.get_help(fresh.context_class(fresh, info_name="mwalimu"))
    assert all(f"  {name} " in shown for name in fresh.commands)
    assert not fresh.parsers._built
