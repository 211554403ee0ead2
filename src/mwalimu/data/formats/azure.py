"""Azure's distillation files: one `{"messages": [...]}` a line, with rules for every task.

The rules are those of the distillation components' own check (Azure/azureml-assets,
training/distillation, validate_pipeline.py), which stops at the first row that breaks one: here
every problem of the file is found in one pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from mwalimu.data.formats.base import Format, Written, not_held
from mwalimu.data.formats.chat_rows import read_messages
from mwalimu.data.readers import BadRow
from mwalimu.data.record import Json, Record

MIN_ROWS, MIN_ROWS_MATH = 65, 40
ORDER = "write system, user, then assistant and user in turn"
SINGLE_TURN = "one system and one user turn: the teacher writes the answer"


def rules(rows: Iterable[tuple[int, Json]], task: str) -> Iterator[BadRow]:
    """Everything that Azure would refuse, of every row and of the file as a whole."""
    count = 0
    for line, row in rows:
        count += 1
        messages = row.get("messages")
        if not isinstance(messages, list) or not messages:
            problem = "must be a list with at least one message"
            yield BadRow(line, "messages", problem, 'write {"messages": [...]}')
            continue
        yield from _turns(line, messages)
        yield from _order(line, messages)
        yield from _length(line, messages, task)
    least = MIN_ROWS_MATH if task == "math" else MIN_ROWS
    if count < least:
        yield BadRow(0, "", f"has {count} rows, Azure wants {least} at least", "add rows")


def _turns(line: int, messages: list[Any]) -> Iterator[BadRow]:
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            yield BadRow(line, where, "must be an object", 'write {"role": ..., "content": ...}')
            continue
        if message.get("role") not in ("system", "user", "assistant"):
            problem = f"is {message.get('role')!r}"
            yield BadRow(line, f"{where}.role", problem, "use system, user or assistant")
        content = message.get("content")
        if not isinstance(content, str) or not content.strip():
            problem = "is empty" if isinstance(content, str) else "is missing or no text"
            yield BadRow(line, f"{where}.content", problem, "write a text")


def _order(line: int, messages: list[Any]) -> Iterator[BadRow]:
    roles = [m.get("role") if isinstance(m, dict) else None for m in messages]
    if roles[0] != "system":
        problem = f"is {roles[0]!r}, Azure wants 'system' first"
        yield BadRow(line, "messages[0].role", problem, "put a system turn in front")
    rest = roles[1:] if roles[0] == "system" else roles
    first = len(roles) - len(rest)
    if rest and rest[0] == "assistant":
        yield BadRow(line, f"messages[{first}].role", "is 'assistant' before any user turn", ORDER)
    for index, (before, after) in enumerate(pairwise(rest), first + 1):
        if after == "system" or before == after:
            yield BadRow(line, f"messages[{index}].role", f"is {after!r} after {before!r}", ORDER)


def _length(line: int, messages: list[Any], task: str) -> Iterator[BadRow]:
    count = len(messages)
    if task == "conversation":
        if count < 3:
            problem = f"has {count} messages, a conversation has 3 at least"
            yield BadRow(line, "messages", problem, "add a user and an assistant turn")
        elif (count - 1) % 2:
            problem = "ends with a user turn that has no answer"
            yield BadRow(line, "messages", problem, "add the answer or drop the turn")
    elif task != "generic" and count > 2:
        yield BadRow(line, "messages", f"has {count} messages for task {task}", SINGLE_TURN)


def _write(record: Record) -> Written:
    """A single-turn row loses its label: Azure has the teacher write all answers."""
    if not_held(record, "calls"):
        return Written(None, ("calls",))
    messages = record.to_json()["messages"]
    if record.task == "conversation" or record.reference is None:
        return Written({"messages": messages}, not_held(record, "id", "task", "metadata", "tools"))
    lost = not_held(record, "id", "task", "metadata", "tools", "label")
    return Written({"messages": messages[:-1]}, lost)


AZURE = Format(
    "azure",
    "Azure distillation",
    detects=lambda row: False,  # no file says that it is meant for Azure
    read=read_messages,
    write=_write,
    rules=rules,
)
