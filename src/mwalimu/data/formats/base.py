"""What a format is: how one of its rows is read, written and checked.

A reader translates a row into the project's own form, `{"messages": [...], "system": ..., ...}`;
what is wrong with the conversation itself is then found where every other row is checked
(`data/readers.py`) and named in the words of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from mwalimu.data.chat import BadValue, text_value
from mwalimu.data.readers import BadRow, to_record
from mwalimu.data.record import Json, Record
from mwalimu.data.seen import FirstSeen

Wire = Literal["openai", "anthropic", "converse"]


@dataclass(frozen=True, slots=True)
class Names:
    """What a format calls the list of turns, and in each who speaks and what is said."""

    turns: str = "messages"
    role: str = "role"
    content: str = "content"


class Written(NamedTuple):
    """A row of the target format, None where it can hold no such row; and what it cannot hold."""

    row: Json | None
    lost: tuple[str, ...] = ()


class Exchange(NamedTuple):
    """A request that was sent and paid once, with its answer as the provider wrote it.

    `row` is the request in the project's own form; `sampling` holds the settings that it named.
    """

    row: Json
    model: str
    answer: Json
    wire: Wire
    sampling: Json


@dataclass(frozen=True, slots=True)
class Format:
    """`detects` looks at one row. `exchange` is there where a row holds a request and its answer;
    `joined_by` where the two are in different files: the field that both have.

    `rules` goes through all rows of a file, given its task, and finds what the format's owner would
    refuse.
    """

    name: str
    title: str
    detects: Callable[[Json], bool]
    read: Callable[[Json], Json]
    names: Names = Names()
    write: Callable[[Record], Written] | None = None
    rules: Callable[[Iterable[tuple[int, Json]], str], Iterator[BadRow]] | None = None
    exchange: Callable[[Json], Exchange] | None = None
    joined_by: str = ""

    def record(self, row: Json, *, task: str, default_id: str) -> Record:
        """Raises BadValue with the field as the file calls it."""
        native = self.read(row)
        try:
            return to_record(native, task=task, default_id=default_id)
        except BadValue as bad:
            raise BadValue(self._named(bad.field), bad.problem, bad.fix) from None

    def checked(
        self,
        line: int,
        row: Json | BadRow,
        *,
        task: str,
        default_id: str,
        seen: FirstSeen,
        place: Callable[[int], str],
        shown_id: int | None = None,
    ) -> Record | BadRow:
        """The record, or its problem; an id that `seen` has met is one, told with the
        `place` of the first and so many characters of it.
        """
        if isinstance(row, BadRow):
            return row
        try:
            record = self.record(row, task=task, default_id=default_id)
        except BadValue as bad:
            return BadRow(line, bad.field, bad.problem, bad.fix)
        first = seen.first(record.id, line)
        if first is None:
            return record
        problem = f"{record.id[:shown_id]!r} is also the id of {place(int(first))}"
        return BadRow(line, "id", problem, "give every row an id of its own")

    def _named(self, field: str) -> str:
        place, dot, rest = field.partition(".")
        head, bracket, index = place.partition("[")
        if head != "messages" or self.names == Names():
            return field
        part = {"role": self.names.role, "content": self.names.content}.get(rest, rest)
        return f"{self.names.turns}{bracket}{index}{dot}{part}"


def list_of(value: Any, field: str) -> list[Any]:
    """Raises BadValue where it is no list, or an empty one."""
    if not isinstance(value, list) or not value:
        raise BadValue(field, "must be a list with at least one item", "add the turns")
    return value


def object_of(value: Any, field: str) -> Json:
    """Raises BadValue where it is no object."""
    if not isinstance(value, dict):
        raise BadValue(field, "is missing or no object", "write {...}")
    return value


def text_of(content: Any, field: str, *, may_be_empty: bool = False) -> str:
    """A text, or a list of blocks that are all text, put together. Raises BadValue."""
    if not isinstance(content, list):
        return text_value(content, field, may_be_empty=may_be_empty)
    parts = []
    for index, block in enumerate(content):
        part = block.get("text") if isinstance(block, dict) else block
        if not isinstance(part, str):
            kind = next(iter(block), "") if isinstance(block, dict) else type(block).__name__
            said = block.get("type", kind) if isinstance(block, dict) else kind
            raise BadValue(f"{field}[{index}]", f"is {said!r}, not text", "only text can be used")
        parts.append(part)
    return text_value("".join(parts), field, may_be_empty=may_be_empty)


def not_held(record: Record, *fields: str) -> tuple[str, ...]:
    """Which of `fields` (id, task, metadata, tools, calls, label) the record fills."""
    filled = {
        "id": True,
        "task": record.task != "generic",
        "metadata": bool(record.metadata),
        "tools": bool(record.tools),
        "calls": any(m.tool_calls or m.role == "tool" for m in record.messages),
        "label": record.reference is not None,
    }
    return tuple(field for field in fields if filled[field])


def turns_of(record: Record) -> list[tuple[str, str]]:
    """(role, text) of every turn, the reference last."""
    turns: list[tuple[str, str]] = [(m.role, m.content) for m in record.messages]
    return turns if record.reference is None else [*turns, ("assistant", record.reference)]


def system_and_rest(record: Record) -> tuple[str, list[tuple[str, str]]]:
    """The system turn's text, "" without one, and the other turns."""
    turns = turns_of(record)
    if turns[0][0] == "system":
        return turns[0][1], turns[1:]
    return "", turns
