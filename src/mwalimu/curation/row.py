"""An accepted row as curation sees it: its bytes, and the answers that it teaches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from mwalimu.data.examples import examples_of
from mwalimu.data.record import Json, value_class

SHORT_ANSWERS = {"nli", "classification", "qa"}
"""Tasks whose answer is a label or a phrase: nothing is worked out in it, and it is no sentence."""


@value_class
class Answered:
    """One answer that is learned. `prompt` is the turn it answers; `before` all turns before it.

    `reference` is the gold answer, None where there is none.
    """

    task: str
    prompt: str
    text: str
    reference: str | None = None
    before: Sequence[Json] = ()


@value_class
class Row:
    """`line` is what the file holds. An answer of nothing but tool calls is not in `answers`."""

    line: bytes
    content: Mapping[str, Any]
    answers: tuple[Answered, ...]

    @classmethod
    def of(cls, line: bytes) -> Row:
        content = orjson.loads(line)
        return cls(line, content, tuple(_answers(content)))

    @property
    def id(self) -> str:
        return str(self.content["id"])


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of an accepted file, one at a time."""
    with open(path, "rb") as handle:
        yield from map(Row.of, handle)


def neighbours(rows: Iterable[Row], same: Callable[[Row, Row], bool]) -> Iterator[list[Row]]:
    """Runs of neighbouring rows that are the same as the first of them."""
    group: list[Row] = []
    for row in rows:
        if group and not same(group[0], row):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _answers(content: Mapping[str, Any]) -> Iterator[Answered]:
    """Of a conversation that is learned turn by turn, only the last turn has the reference."""
    last = len(content["messages"])
    for example in examples_of(content):
        *before, answer = example.chat
        text = answer["content"] or ""
        if not text.strip():
            continue
        reference = content.get("reference") if len(example.chat) == last else None
        yield Answered(content["task"], _asked(before), text, reference, before)


def _asked(before: Sequence[Json]) -> str:
    """The last turn that is not the assistant's."""
    turns = (turn["content"] for turn in reversed(before) if turn["role"] != "assistant")
    return next(turns, "") or ""
