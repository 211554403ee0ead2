"""Files of rows -> `Record`s, streaming. Every bad row of a file is reported in one pass.

Reads JSONL, CSV and Parquet, each also gzipped (`.jsonl.gz`, `.csv.gz`). A row is one of
    {"messages": [{"role", "content"}, ...]}  a chat; a last assistant turn is the gold answer
    {"prompt": ..., "completion": ...}                completion is optional
    {"input": ..., "output": ...}                     output is optional
and may carry `id`, `task`, `system` and `metadata`.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import orjson

from mwalimu.data.record import Message, Record
from mwalimu.errors import DataError

SHOWN_PROBLEMS = 20
ROLES = ("system", "user", "assistant")
PAIRS = (("prompt", "completion"), ("input", "output"))


@dataclass(frozen=True, slots=True)
class BadRow:
    """One problem: which line, which field, what to do."""

    line: int
    field: str
    problem: str
    fix: str

    def render(self, path: Path) -> str:
        field = f" {self.field}:" if self.field else ""
        return f"{path}:{self.line}:{field} {self.problem}; {self.fix}"


class _BadValue(Exception):
    def __init__(self, field: str, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.field, self.problem, self.fix = field, problem, fix


def load_records(path: Path, *, task: str, split: str) -> list[Record]:
    """All rows of `path`; rows without an id get `<split>-<row number>`.

    Raises:
        DataError: the file is missing or empty, or lists every bad row as file:line: field.
    """
    problems: list[BadRow] = []
    records: list[Record] = []
    seen: dict[str, int] = {}
    for line, item in read_rows(path):
        if isinstance(item, BadRow):
            problems.append(item)
            continue
        try:
            record = to_record(item, task=task, default_id=f"{split}-{line:06d}")
        except _BadValue as bad:
            problems.append(BadRow(line, bad.field, bad.problem, bad.fix))
            continue
        if record.id in seen:
            problem = f"{record.id!r} is also the id of line {seen[record.id]}"
            problems.append(BadRow(line, "id", problem, "give every row an id of its own"))
            continue
        seen[record.id] = line
        records.append(record)
    if problems:
        raise _data_error(path, problems)
    if not records:
        raise DataError("has no rows", where=str(path), fix="put one JSON object on each line")
    return records


def _data_error(path: Path, problems: list[BadRow]) -> DataError:
    shown = [problem.render(path) for problem in problems[:SHOWN_PROBLEMS]]
    more = len(problems) - len(shown)
    tail = f"\n... and {more} more" if more > 0 else ""
    noun = "row is" if len(problems) == 1 else "rows are"
    return DataError(
        f"{len(problems)} {noun} not usable\n" + "\n".join(shown) + tail, where=str(path)
    )


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """(line or row number, raw row or its problem); rows of Parquet count from 1."""
    if not path.exists():
        raise DataError(
            "no such file", where=str(path), fix="check the path under 'data' in the config"
        )
    if path.is_dir():
        raise DataError("is a folder, not a file", where=str(path), fix="name a file in it")
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix == ".parquet":
        yield from _read_parquet(path)
        return
    try:
        with _open(path) as handle:
            yield from _read_csv(handle) if suffix == ".csv" else _read_jsonl(handle)
    except (OSError, EOFError) as error:
        raise DataError(f"cannot be read ({error})", where=str(path)) from None


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return open(path, "rb")


def _read_jsonl(handle: IO[bytes]) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    for number, line in enumerate(handle, 1):
        text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if text.strip():
            yield number, _parse_line(number, text)


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
    if not isinstance(row, dict):
        return BadRow(number, "", f"is a JSON {type(row).__name__}", "write a JSON object {...}")
    return row


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


def _read_parquet(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    import pyarrow.lib
    import pyarrow.parquet as parquet

    try:
        number = 0
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield number, {key: value for key, value in row.items() if value is not None}
    except (pyarrow.lib.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"is not a readable Parquet file ({first})", where=str(path)) from None


def to_record(row: dict[str, Any], *, task: str, default_id: str) -> Record:
    """The typed row. Raises `_BadValue` with the field at fault."""
    identifier = row.get("id", default_id)
    if not isinstance(identifier, str | int) or identifier == "":
        raise _BadValue("id", "must be a text or a whole number", "or leave it out")
    metadata = row.get("metadata", {})
    if not isinstance(metadata, dict):
        raise _BadValue("metadata", "must be an object", "or leave it out")
    row_task = row.get("task", task)
    if not isinstance(row_task, str):
        raise _BadValue("task", "must be a text", "or leave it out")
    messages, reference = _messages(row)
    return Record(str(identifier), row_task, messages, reference, metadata)


def _messages(row: dict[str, Any]) -> tuple[tuple[Message, ...], str | None]:
    if "messages" in row:
        return split_reference(check_messages(row["messages"]))
    for prompt_key, answer_key in PAIRS:
        if prompt_key in row:
            return _from_pair(row, prompt_key, answer_key)
    raise _BadValue(
        "messages", "is missing", "give 'messages', or 'prompt', or 'input' in every row"
    )


def _from_pair(
    row: dict[str, Any], prompt_key: str, answer_key: str
) -> tuple[tuple[Message, ...], str | None]:
    messages = [Message("user", _text(row[prompt_key], prompt_key))]
    if row.get("system"):
        messages.insert(0, Message("system", _text(row["system"], "system")))
    answer = row.get(answer_key)
    return tuple(messages), None if answer is None else _text(answer, answer_key)


def check_messages(value: Any) -> list[Message]:
    """A chat: an optional system turn, then user and assistant in turn, user first."""
    if not isinstance(value, list) or not value:
        raise _BadValue("messages", "must be a list with at least one message", "add a user turn")
    messages = [_message(item, index) for index, item in enumerate(value)]
    turns: Iterable[tuple[int, Message]] = enumerate(messages)
    expected = "user"
    for index, message in turns:
        if index == 0 and message.role == "system":
            continue
        if message.role != expected:
            raise _BadValue(
                f"messages[{index}].role",
                f"is {message.role!r} where {expected!r} must stand",
                "order the turns: system (optional), user, assistant, user, ...",
            )
        expected = "assistant" if expected == "user" else "user"
    if messages[-1].role == "system":
        raise _BadValue("messages", "has only a system turn", "add a user turn")
    return messages


def _message(item: Any, index: int) -> Message:
    where = f"messages[{index}]"
    if not isinstance(item, dict):
        raise _BadValue(where, "must be an object", 'write {"role": ..., "content": ...}')
    role = item.get("role")
    if role not in ROLES:
        raise _BadValue(f"{where}.role", f"is {role!r}", f"use one of {', '.join(ROLES)}")
    return Message(role, _text(item.get("content"), f"{where}.content"))


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise _BadValue(field, f"is {type(value).__name__}, not a text", "write a text")
    if not value.strip():
        raise _BadValue(field, "is empty", "fill it in or remove the row")
    return value


def split_reference(messages: list[Message]) -> tuple[tuple[Message, ...], str | None]:
    """Takes a closing assistant turn off as the gold answer."""
    if messages[-1].role == "assistant":
        return tuple(messages[:-1]), messages[-1].content
    return tuple(messages), None
