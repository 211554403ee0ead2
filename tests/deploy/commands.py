"""Every `mwalimu` command that a template or a text of the deployment names, as a list of words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import typer
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

_CALLED = re.compile(r"(?:^|[\s`])(?:mwalimu|mwalimu\.cli(?: --)?) (?=[a-z])([^`]*)")
_ENDS = {"|", "&", "&&", "||", ";", ">", ">>", "2>&1"}


def templates(suffix: str) -> list[Path]:
    return sorted(DEPLOY.rglob(f"*{suffix}"))


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def in_text(text: str) -> Iterator[list[str]]:
    """Of a script or a page: in comments, code and between backticks alike."""
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"^#\s+", "", line)
        for found in _CALLED.findall(line):
            words = shlex.split(found, comments=True)
            end = next((at for at, word in enumerate(words) if word in _ENDS), len(words))
            yield words[:end]


def in_values(value: Any) -> Iterator[list[str]]:
    """Of a template: arguments of a container, whose entry point is mwalimu, and entry points."""
    if isinstance(value, dict):
        if isinstance(value.get("image"), str):
            key = "args" if "args" in value else "command"
            if words := value.get(key):
                yield [str(word) for word in words]
        if isinstance(value.get("entrypoint"), str):
            yield from in_text(value["entrypoint"])
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from in_values(one)


@cache
def tree() -> click.Command:
    from mwalimu.cli import app

    return typer.main.get_command(app)  # type: ignore[return-value]


def parse(words: list[str]) -> None:
    """As the command line would, without running anything. Raises click's errors."""
    command = tree()
    context: click.Context | None = None
    while True:
        context = command.context_class(command, info_name=command.name, parent=context)
        if not hasattr(command, "commands"):
            command.parse_args(context, list(words))
            return
        _, words, _ = command.make_parser(context).parse_args(list(words))
        if not words:
            return
        _, command, words = command.resolve_command(context, words)
