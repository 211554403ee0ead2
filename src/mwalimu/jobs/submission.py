"""What somebody asks the service to do, as it comes: its outer shape. Imports no web framework."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from mwalimu.config.section import Section
from mwalimu.jobs.records import Kind
from mwalimu.jobs.workspace import NAME

NAME_PATTERN = f"^(?:{NAME.pattern})$"


def _one_line(text: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("holds a control character")
    return text


Name = Annotated[str, Field(max_length=255, pattern=NAME_PATTERN)]
Line = Annotated[str, Field(max_length=255), AfterValidator(_one_line)]
Text = Annotated[str, Field(max_length=1_000_000)]
Folder = Annotated[dict[Name, Text], Field(min_length=1, max_length=1000)]
Url = Annotated[str, Field(max_length=2000), AfterValidator(_one_line)]


class Submission(Section):
    """`config` is looked at by `admission`, which knows what a stranger may ask for.

    `registers`: names of the models that come of it: the student's, then the baseline's; named
    after the student if unset. `files`: what the config names as `file:NAME`, a text; several
    texts by name are a folder.
    """

    kind: Kind = "distillation"
    name: Name | None = None
    display_name: Line = ""
    experiment_name: Line = ""
    tags: dict[Line, Line] = Field({}, max_length=50)
    priority: int = Field(0, ge=-1000, le=1000)
    resource: Line = "cpu"
    registers: Annotated[tuple[Name, ...], Field(max_length=2)] | None = None
    webhook: Url | None = None
    files: dict[Name, Text | Folder] = Field({}, max_length=100)
    config: dict[str, Any]
