"""The texts of `templates.yaml`, some of them replaced by the user's own."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import yaml

from mwalimu.errors import ConfigError

Templates = dict[str, str]
OURS = Path(__file__).parent / "templates.yaml"
_PLACE = re.compile(r"\{(count|passage|question)\}")


def load_templates(path: Path | None) -> Templates:
    """Ours, with those of the user's file in their place.

    Raises:
        ConfigError: the file cannot be read, has an unknown name, or leaves out what is filled in.
    """
    ours = _ours()
    if path is None:
        return dict(ours)
    try:
        theirs = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot be read as YAML ({error})", where=str(path)) from None
    if not isinstance(theirs, dict) or not all(isinstance(t, str) for t in theirs.values()):
        raise ConfigError("is no mapping of names to texts", where=str(path))
    for name, text in theirs.items():
        if name not in ours:
            fix = f"one of {', '.join(ours)}"
            raise ConfigError(f"{name!r} is no template", where=str(path), fix=fix)
        missing = set(_PLACE.findall(ours[name])) - set(_PLACE.findall(text))
        if missing:
            problem = f"{name} does not say where {', '.join(sorted(missing))} goes"
            fix = f"put {{{min(missing)}}} into it"
            raise ConfigError(problem, where=str(path), fix=fix)
    return ours | theirs


def fill(template: str, **values: object) -> str:
    """Each known place once: what is filled in may hold braces of its own."""
    return _PLACE.sub(lambda match: str(values.get(match[1], match[0])), template)


@cache
def _ours() -> Templates:
    texts: Templates = yaml.safe_load(OURS.read_text(encoding="utf-8"))
    return texts
