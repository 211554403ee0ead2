"""The page of the Python interface: what `mwalimu` and `mwalimu.api` offer, with their words."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mwalimu
from mwalimu import api

WIDTH = 100

HEAD = """\
# Python
Derived from `mwalimu.__all__` and `mwalimu.api.__all__`. Functions raise the errors of [exit
codes](exits.md). The command line, notebooks and the job service all call these.

"""


def page() -> str:
    top = [_entry(f"mwalimu.{name}", getattr(mwalimu, name)) for name in mwalimu.__all__]
    rest = [
        _entry(f"mwalimu.api.{name}", getattr(api, name))
        for name in api.__all__
        if name not in mwalimu.__all__
    ]
    return f"{HEAD}## mwalimu\n\n" + "\n".join(top) + "\n## mwalimu.api\n\n" + "\n".join(rest)


def _entry(name: str, thing: Any) -> str:
    if not callable(thing):
        return f"### {name}\n`{thing!r}`\n"
    kind = "class " if inspect.isclass(thing) else ""
    said = inspect.cleandoc(thing.__doc__ or "")
    return f"### {name}\n```python\n{kind}{_signature(name, thing)}\n```\n{_as_markdown(said)}\n"


def _signature(name: str, thing: Any) -> str:
    """On one line if it fits, else a line a parameter."""
    short = name.rsplit(".", 1)[1]
    signature = inspect.signature(thing)
    words = list(_parameters(signature))
    returns = "" if inspect.isclass(thing) else f" -> {_type(signature.return_annotation)}"
    line = f"{short}({', '.join(words)}){returns}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{short}(", *(f"    {word}," for word in words), f"){returns}"])


def _parameters(signature: inspect.Signature) -> Iterator[str]:
    stars: dict[Any, str] = {
        inspect.Parameter.VAR_POSITIONAL: "*",
        inspect.Parameter.VAR_KEYWORD: "**",
    }
    open_to_names = False
    for one in signature.parameters.values():
        if one.kind is inspect.Parameter.KEYWORD_ONLY and not open_to_names:
            yield "*"
        open_to_names |= one.kind in (
            inspect.Parameter.KEYWORD_ONLY,
            inspect.Parameter.VAR_POSITIONAL,
        )
        word = f"{stars.get(one.kind, '')}{one.name}: {_type(one.annotation)}"
        yield word if one.default is one.empty else f"{word} = {_default(one.default)}"


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")


def _default(default: Any) -> str:
    if isinstance(default, Path):
        return f'Path("{default}")'
    return str(getattr(default, "__name__", repr(default)))


def _as_markdown(text: str) -> str:
    """Of a docstring: an indented block under a heading word becomes a list."""
    lines, listed = [], False
    for line in text.splitlines():
        if line in ("Raises:", "Args:", "Returns:"):
            lines += [line, ""]
            listed = True
        elif listed and line.startswith("    ") and not line.startswith("     "):
            lines.append(f"- {line.strip()}")
        else:
            listed = listed and (not line or line.startswith(" "))
            lines.append(line)
    return "\n".join(lines)
