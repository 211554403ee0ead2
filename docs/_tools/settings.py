"""The page of `distill.yaml`: every section and key of the config, with type, default, meaning."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any

import annotated_types
from docs._tools.wording import code, kind, table, value
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mwalimu.config import Config
from mwalimu.config.section import Section

HEAD = """\
# distill.yaml
Derived from `mwalimu/config/`: every key, with its type, its bounds and its default. A key that
is not here is refused, with the nearest one that is. `--set section.key=value` sets any of them
on the command line; the run folder's `config.yaml` has all of them written out.

"""
PAGES = {
    "data": "data",
    "teacher": "teachers",
    "ensemble": "teachers",
    "student": "students",
    "prompts": "prompts",
    "prepare": "preparation",
    "active": "buying",
    "auto": "buying",
    "generate": "teachers",
    "curate": "curation",
    "budget": "teachers",
    "signals": "objectives",
    "finetune": "objectives",
    "evaluate": "evaluation",
    "export": "export",
    "scale": "scale",
    "tune": "tuning",
}
"""The page that explains a section."""


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Each kind of section once, by the first path to it; the config itself is first.

    Of several kinds that may stand at one path each has its kind behind the path.
    """
    found = list(_by_path())
    paths = [path for path, _ in found]
    for path, section in found:
        yield (path if paths.count(path) == 1 else f"{path}: {_words(section)}"), section


def _words(section: type[BaseModel]) -> str:
    """`MixtureRangeConfig` is a mixture range."""
    name = section.__name__.removesuffix("Config")
    return re.sub("(?<!^)(?=[A-Z])", " ", name).lower()


def _by_path() -> Iterator[tuple[str, type[BaseModel]]]:
    seen: set[type[BaseModel]] = set()
    waiting: list[tuple[str, type[BaseModel]]] = [("", Config)]
    while waiting:
        path, section = waiting.pop(0)
        if section in seen:
            continue
        seen.add(section)
        yield path, section
        below = [
            (f"{path}.{name}".lstrip("."), inner)
            for name, field in section.model_fields.items()
            for inner in within(field.annotation)
        ]
        waiting = below + waiting


def within(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections that a value of this type may be or hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from within(inner)


def page() -> str:
    places: dict[type[BaseModel], str] = {section: path for path, section in sections()}
    return HEAD + "\n".join(_section(path, section, places) for section, path in places.items())


def _section(path: str, section: type[BaseModel], places: dict[type[BaseModel], str]) -> str:
    parts = [f"## {code(path)}" if path else "## The whole file"]
    said = [inspect.cleandoc(section.__doc__)] if section.__doc__ else []
    top = path.split(".")[0]
    if path == top and top in PAGES:
        said.append(f"Explained in [{PAGES[top]}](../{PAGES[top]}.md).")
    parts += [" ".join(said)] if said else []
    rows = [_row(path, name, one, places) for name, one in section.model_fields.items()]
    parts.append(table(["key", "type", "default", "meaning"], rows))
    return "\n\n".join(parts) + "\n"


def _row(
    path: str, name: str, field: FieldInfo, places: dict[type[BaseModel], str]
) -> tuple[str, str, str, str]:
    own = f"{path}.{name}".lstrip(".")
    inner = [one for one in within(field.annotation) if one in places]
    elsewhere = [code(places[one]) for one in inner if places[one].split(":")[0] != own]
    meaning = field.description or _of_section(field.annotation)
    if elsewhere:
        meaning = f"{meaning} (keys as of {', '.join(elsewhere)})".strip()
    return code(name), f"{kind(field.annotation)}{_bounds(field)}", _default(field), meaning


def _of_section(annotation: Any) -> str:
    """The first line of what a section says of itself, where the key is a section and no more."""
    found = list(within(annotation))
    said = inspect.getdoc(found[0]) if len(found) == 1 else None
    return said.splitlines()[0] if said and found[0].__doc__ else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "follows from others"
    if field.default is None:
        return ""
    if isinstance(field.default, Section) and not field.default.model_dump(exclude_defaults=True):
        return "its defaults"
    return code(value(field.default))


def _bounds(field: FieldInfo) -> str:
    signs = {
        annotated_types.Ge: ("≥", "ge"),
        annotated_types.Gt: (">", "gt"),
        annotated_types.Le: ("≤", "le"),
        annotated_types.Lt: ("<", "lt"),
    }
    found = []
    for one in field.metadata:
        if type(one) in signs:
            sign, attribute = signs[type(one)]
            found.append(f"{sign} {getattr(one, attribute):g}")
    return f", {', '.join(found)}" if found else ""
