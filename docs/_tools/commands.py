"""The page of the command line: every command, its options, and an example of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from docs._tools.wording import code, kind, table, value

from mwalimu.cli import app
from mwalimu.commands.examples import EXAMPLES

HEAD = """\
# Commands
Derived from the command line of this version; `mwalimu COMMAND --help` says the same. Options of
`mwalimu` itself stand before the command, those of a command behind it. Every error is one line
and an exit code: [exit codes](exits.md).
"""


def tree() -> Any:
    return typer.main.get_command(app)


def commands() -> Iterator[tuple[str, Any]]:
    """Everything that can be called, by its full name, in the order of `mwalimu --help`."""
    yield from _below(tree(), "mwalimu")


def _below(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    if group.invoke_without_command or path == "mwalimu":
        yield path, group
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _below(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def page() -> str:
    return f"{HEAD}\n" + "\n".join(_section(name, one) for name, one in commands())


def _section(name: str, command: Any) -> str:
    words = [_usage(one) for one in command.params if one.param_type_name == "argument"]
    options = ["[OPTIONS]"] if any(_is_option(one) for one in command.params) else []
    rest = ["COMMAND ..."] if name == "mwalimu" else []
    parts = [f"## {name}", (command.help or "").strip()]
    parts.append(f"```\n{' '.join([name, *options, *words, *rest])}\n```")
    if command.params:
        rows = [_row(one) for one in command.params]
        parts.append(table(["argument or option", "type", "default", "meaning"], rows))
    lines = "\n".join(EXAMPLES[name.removeprefix("mwalimu").strip()])
    parts.append(f"Examples:\n```\n{lines}\n```")
    return "\n\n".join(part for part in parts if part) + "\n"


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def _usage(argument: Any) -> str:
    word = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def _row(parameter: Any) -> tuple[str, str, str, str]:
    names = ", ".join(map(code, [*parameter.opts, *parameter.secondary_opts]))
    if not _is_option(parameter):
        names = code(parameter.name.upper())
    what = kind(parameter.type_descriptor.annotation) + _bounds(parameter)
    if getattr(parameter, "is_flag", False):
        what = "switch"
    elif parameter.multiple:
        what = f"{what.removeprefix('list of ')}, may be repeated"
    if parameter.required:
        default = "required"
    elif parameter.default in (None, False) or "[default:" in (parameter.help or ""):
        default = ""
    else:
        default = code(value(parameter.default))
    return names, what, default, parameter.help or ""


def _bounds(parameter: Any) -> str:
    signs = {"≥": parameter.min, "≤": parameter.max}
    return "".join(f", {sign} {bound:g}" for sign, bound in signs.items() if bound is not None)
