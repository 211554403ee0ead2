"""What somebody meant who named a verb or an option that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

ELSEWHERE = {
    "bench": "evaluate",
    "chat": "serve",
    "compare": "report",
    "convert": "export",
    "create": "init",
    "distil": "run",
    "distill": "run",
    "help": "--help",
    "infer": "serve",
    "new": "init",
    "quantise": "export",
    "quantize": "export",
    "sft": "finetune",
    "start": "run",
    "test": "evaluate",
    "train": "finetune",
    "version": "--version",
}
"""What other tools call it."""


def meant(word: str, parsers: Mapping[str, Any]) -> str:
    """The verbs of this command line that are nearest, quoted; empty where none is."""
    word = word.lower()
    if word in parsers:
        return f"'mwalimu {word}'"
    if word in ELSEWHERE:
        return f"'mwalimu {ELSEWHERE[word]}'"
    if near := difflib.get_close_matches(word, list(parsers), n=2):
        return " or ".join(f"'mwalimu {name}'" for name in near)
    inner = [path for name in parsers for path in _paths(parsers[name], name)]
    deep = [path for path in inner if path.split()[-1] == word]
    return " or ".join(f"'mwalimu {path}'" for path in deep[:2])


def _paths(command: Any, path: str) -> Iterator[str]:
    for name, inner in getattr(command, "commands", {}).items():
        yield f"{path} {name}"
        yield from _paths(inner, f"{path} {name}")


def reword(error: Exception) -> None:
    """What the parser says of a word it does not take, as a user would read it.

    Of an unknown option that is a setting of distill.yaml it says how that is set.
    """
    message = getattr(error, "message", "")
    if "Value error, " in message:  # of the library that checks values
        error.message = message.replace("Value error, ", "")  # type: ignore[attr-defined]
    option = getattr(error, "option_name", None)
    if not isinstance(option, str) or not hasattr(error, "possibilities"):
        return
    leaf = option.lstrip("-").replace("-", "_")
    if keys := [key for key in _keys() if key.split(".")[-1] == leaf]:
        shown = " or ".join(f"--set {key}=..." for key in keys[:3])
        error.message = f"No such option: {option}. It is a setting: {shown}"  # type: ignore[attr-defined]
        error.possibilities = None


def _keys() -> Iterator[str]:
    """Of the sections of distill.yaml that most jobs have."""
    from mwalimu.config import Config

    for name, field in Config.model_fields.items():
        if inner := getattr(field.annotation, "model_fields", None):
            yield from (f"{name}.{key}" for key in inner)
        else:
            yield name
