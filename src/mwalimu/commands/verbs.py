"""The group of all verbs: builds the parser of the one that is asked for, and helps who errs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from mwalimu.commands import completion
from mwalimu.commands.examples import add_examples

if TYPE_CHECKING:
    from typer.models import CommandInfo


@dataclass(frozen=True, slots=True)
class Verb:
    """One name below `mwalimu`, what it does, and what its parser is made of."""

    name: str
    about: str
    app: typer.Typer

    def parser(self) -> Any:
        command = typer.main.get_command(self.app)
        command.name = self.name
        add_examples(command, self.name)
        return command


def verbs_of(apps: Sequence[typer.Typer]) -> dict[str, Verb]:
    """In their order. An app with a name is a group; what one without holds stands by itself."""
    return {verb.name: verb for app in apps for verb in _verbs(app)}


def _verbs(app: typer.Typer) -> Iterator[Verb]:
    if isinstance(app.info.name, str):
        yield Verb(app.info.name, _about_group(app), _plain(app))
        return
    for info in app.registered_commands:
        yield _single(info)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        inner = group.typer_instance
        inner.info.name = group.name
        yield from _verbs(inner)


def _single(info: CommandInfo) -> Verb:
    app = _plain(typer.Typer(add_completion=False))
    app.registered_commands.append(info)
    assert info.callback is not None
    name = info.name or info.callback.__name__.replace("_", "-")
    return Verb(name, info.callback.__doc__ or "", app)


def _about_group(app: typer.Typer) -> str:
    if isinstance(app.info.help, str):
        return app.info.help
    callback = app.registered_callback and app.registered_callback.callback
    return (callback and callback.__doc__) or ""


def _plain(app: typer.Typer) -> typer.Typer:
    """As the top is: help without colours or boxes, nothing heavy loaded for it."""
    app.rich_markup_mode = None
    app.pretty_exceptions_enable = False
    app._add_completion = False
    return app


class Parsers(Mapping[str, Any]):
    """By verb, each built when it is first looked up: all of them take as long as all else."""

    def __init__(self, verbs: Mapping[str, Verb]) -> None:
        self.verbs = verbs
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = self.verbs[name].parser()
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.verbs)

    def __len__(self) -> int:
        return len(self.verbs)

    def __contains__(self, name: object) -> bool:
        return name in self.verbs


class Verbs(TyperGroup):
    """Below it stand the verbs of `apps`, which a subclass names."""

    apps: Sequence[typer.Typer] = ()

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.parsers = Parsers(verbs_of(self.apps))
        self.commands = self.parsers  # type: ignore[assignment]  # nothing is added later
        add_examples(self)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = formatter.width - 6 - max(map(len, self.parsers))
        sketches = (TyperCommand(v.name, help=v.about) for v in self.parsers.verbs.values())
        with formatter.section("Commands"):
            formatter.write_dl([(one.name, one.get_short_help_str(width)) for one in sketches])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        from mwalimu.commands.mistakes import meant

        if args[0] not in self.parsers and (better := meant(args[0], self.parsers)):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {better}?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        from mwalimu.commands.mistakes import reword

        try:
            return super().invoke(ctx)
        except Exception as error:
            reword(error)
            raise

    def main(self, *arguments: Any, **settings: Any) -> Any:
        if completion.VARIABLE in os.environ:
            completion.teach_shells()
        return super().main(*arguments, **settings)
