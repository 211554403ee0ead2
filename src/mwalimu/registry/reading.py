"""The registry's YAML, read and typed: every complaint names its file and its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from mwalimu.errors import ConfigError

T = TypeVar("T")

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast


def read_sections(path: Path, known: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The named entries of each section. Raises ConfigError."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=str(path)) from None
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = str(path) if line is None else f"{path}:{line + 1}"
        raise ConfigError("is not valid YAML", where=place) from None
    sections = mapping(raw or {}, path, "the file")
    for section, entries in sections.items():
        if section not in known:
            raise ConfigError(
                f"{section}: unknown key", where=str(path), fix=f"known: {', '.join(known)}"
            )
        mapping(entries, path, section)
    return sections


def known(entries: Mapping[str, T], name: Any, path: Path, key: str) -> T:
    """The entry of that name. Raises ConfigError."""
    if name not in entries:
        raise ConfigError(
            f"{key}: {name!r} is not known", where=str(path), fix=f"known: {', '.join(entries)}"
        )
    return entries[name]


def mapping(value: Any, path: Path, key: str) -> dict[str, Any]:
    """A copy of `value`, which has to map names. Raises ConfigError."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"{key}: is not a mapping of names", where=str(path))
    return dict(value)


def typed(kind: type[T], raw: Any, path: Path, key: str) -> T:
    """`raw` as a dataclass. Raises ConfigError, which names all that is wrong with it."""
    try:
        return TypeAdapter(kind).validate_python(raw)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, (key, *item['loc'])))}: {item['msg']}" for item in error.errors()
        ]
        raise ConfigError("; ".join(problems), where=str(path)) from None
