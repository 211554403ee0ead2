"""One file of rows -> raw rows, streaming, and a row of ours -> its `Record`.

Reads JSONL and CSV, each also gzipped (`.jsonl.gz`, `.csv.gz`), Parquet, Arrow, and a `.json` that
is one document (`data/documents`); a set of several is `data/shards`. `data/formats` knows the rows
of others; a row of ours is one of these
    {"messages": [{"role", "content"}, ...]}  a chat; a last assistant turn is the gold answer
    {"prompt": ..., "completion": ...}                completion is optional
    {"input": ..., "output": ...}                     output is optional
and may carry `id`, `task`, `system`, `tools` and `metadata`. In a chat an assistant turn may have
`tool_calls`, and turns of role "tool" with their `tool_call_id` answer them, in OpenAI's form.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import orjson

from mwalimu.data.chat import BadValue as BadValue
from mwalimu.data.chat import check_messages, check_tools, split_reference, text_value
from mwalimu.data.documents import MARK, is_document, read_document
from mwalimu.data.record import Message, Record
from mwalimu.data.tables import read_arrow, read_parquet
from mwalimu.errors import DataError, explained

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet", ".arrow")
PAIRS = (("prompt", "completion"), ("input", "output"))


@dataclass(frozen=True, slots=True)
class BadRow:
    """One problem: which line (0: the file as a whole), which field, what to do."""

    line: int
    field: str
    problem: str
    fix: str


def default_id(split: str, line: int) -> str:
    """The id of a row that brings none."""
    return f"{split}-{line:06d}"


def suffix_of(path: Path) -> str:
    """What says how the file is read: `.jsonl` of rows.jsonl.gz."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _meant(path: Path) -> str:
    """The file beside it that is called nearly so."""
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.7)
    return f"did you mean {near[0]!r}?" if near else "check the path"


def read_file(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """(line, raw row or its problem); the rows of tables count from 1. Raises DataError."""
    if not path.is_file():
        raise DataError("no such file", where=str(path), fix=_meant(path))
    suffix = suffix_of(path)
    if suffix in (".parquet", ".arrow"):
        yield from enumerate(read_parquet(path) if suffix == ".parquet" else read_arrow(path), 1)
        return
    try:
        with _open(path) as handle:
            if suffix == ".csv":
                yield from _read_csv(handle)
            elif suffix == ".json" and is_document(handle):
                yield from _read_document(handle)
            else:
                yield from _read_jsonl(handle)
    except (OSError, EOFError) as error:
        known = explained(error, str(path))
        raise known or DataError(f"cannot be read ({error})", where=str(path)) from None


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return open(path, "rb")


def _read_jsonl(handle: IO[bytes]) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    for number, line in enumerate(handle, 1):
        text = line.removeprefix(MARK) if number == 1 else line
        if text.strip():
            yield number, _parse_line(number, text)


def _read_document(handle: IO[bytes]) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """Its rows count from 1, whatever lines they are on."""
    try:
        for number, row in enumerate(read_document(handle), 1):
            yield number, row if isinstance(row, dict) else _no_object(number, row)
    except ValueError as error:
        fix = "give a list [{...}, ...], or one JSON object on each line"
        yield 1, BadRow(1, "", f"is no document of rows ({error})", fix)


def _no_object(number: int, row: Any) -> BadRow:
    return BadRow(number, "", f"is a JSON {type(row).__name__}", "write a JSON object {...}")


def _parse_line(number: int, line: bytes) -> dict[str, Any] | BadRow:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"invalid UTF-8 at byte {error.start + 1} of the line"
        return BadRow(number, "", problem, "save the file as UTF-8")
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        problem = f"invalid JSON at column {error.colno} ({error.msg})"
        return BadRow(number, "", problem, "write one JSON object on each line")
    return row if isinstance(row, dict) else _no_object(number, row)


def _read_csv(handle: IO[bytes]) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    with io.TextIOWrapper(handle, encoding="utf-8-sig", newline="") as text:
        reader = csv.DictReader(text)
        try:
            for row in reader:
                yield reader.line_num, _csv_row(reader.line_num, row)
        except UnicodeDecodeError:
            line = reader.line_num + 1
            yield line, BadRow(line, "", "invalid UTF-8", "save the file as UTF-8")
        except csv.Error as error:
            line = reader.line_num
            yield line, BadRow(line, "", f"invalid CSV ({error})", "mend the row")


def _csv_row(line: int, row: dict[str, Any]) -> dict[str, Any] | BadRow:
    if None in row:
        return BadRow(line, "", "has more cells than the header", "quote the commas")
    return {key: value for key, value in row.items() if value not in (None, "")}


def to_record(row: dict[str, Any], *, task: str, default_id: str) -> Record:
    """The typed row. Raises `BadValue` with the field at fault."""
    identifier = row.get("id", default_id)
    if not isinstance(identifier, str | int) or identifier == "":
        raise BadValue("id", "must be a text or a whole number", "or leave it out")
    metadata = row.get("metadata", {})
    if not isinstance(metadata, dict):
        raise BadValue("metadata", "must be an object", "or leave it out")
    row_task = row.get("task", task)
    if not isinstance(row_task, str):
        raise BadValue("task", "must be a text", "or leave it out")
    tools = check_tools(row.get("tools"))
    messages, reference = _messages(row)
    return Record(str(identifier), row_task, messages, reference, metadata, tools)


def _messages(row: dict[str, Any]) -> tuple[tuple[Message, ...], str | None]:
    if "messages" in row:
        return split_reference(_with_system(row.get("system"), check_messages(row["messages"])))
    for prompt_key, answer_key in PAIRS:
        if prompt_key in row:
            return _from_pair(row, prompt_key, answer_key)
    raise BadValue(
        "messages", "is missing", "give 'messages', or 'prompt', or 'input' in every row"
    )


def _with_system(system: Any, messages: list[Message]) -> list[Message]:
    """A system text beside the chat, where there is one, becomes its first turn."""
    if system is None:
        return messages
    if messages[0].role == "system":
        raise BadValue("system", "stands beside a system turn", "keep one of the two")
    return [Message("system", text_value(system, "system")), *messages]


def _from_pair(
    row: dict[str, Any], prompt_key: str, answer_key: str
) -> tuple[tuple[Message, ...], str | None]:
    messages = [Message("user", text_value(row[prompt_key], prompt_key))]
    if row.get("system"):
        messages.insert(0, Message("system", text_value(row["system"], "system")))
    answer = row.get(answer_key)
    return tuple(messages), None if answer is None else text_value(answer, answer_key)
