"""What a request may ask: bodies and parameters with their bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import Field

from mwalimu.config.section import Section
from mwalimu.jobs.paging import LONGEST_PAGE
from mwalimu.jobs.records import Role
from mwalimu.jobs.submission import NAME_PATTERN, Line, Name

MAX_NUMBER = 2**53  # what JSON's readers agree on

NamePath = Annotated[str, Path(max_length=255, pattern=NAME_PATTERN)]
VersionPath = Annotated[int, Path(ge=1, le=MAX_NUMBER)]
After = Annotated[int, Query(ge=0, le=MAX_NUMBER)]
Limit = Annotated[int, Query(ge=1, le=LONGEST_PAGE)]


class NewModel(Section):
    name: Name
    job: Name


class NewEvaluation(Section):
    """`version` is the model's; the newest without it."""

    version: int | None = Field(None, ge=1, le=MAX_NUMBER)
    dataset: Annotated[str, Field(max_length=300)]
    metrics: Annotated[tuple[Line, ...], Field(max_length=50)] = ()
    name: Name | None = None
    resource: Line = "cpu"


class NewToken(Section):
    """`expires` in seconds since 1970; never without it."""

    name: Name
    role: Role
    expires: float | None = Field(None, ge=0, le=MAX_NUMBER)


class Turn(Section):
    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Field(max_length=100_000)]


class Question(Section):
    messages: Annotated[tuple[Turn, ...], Field(min_length=1, max_length=100)]
    max_tokens: int = Field(256, ge=1, le=4096)
    pay: bool = False
