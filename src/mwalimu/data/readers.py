"""Files of rows -> `Record`s, streaming. Every bad row of a file is reported in one pass.

Reads JSONL, CSV and Parquet, each also gzipped (`.jsonl.gz`, `.csv.gz`), and folders of the
`datasets` library. A row of ours is one of these; `data/formats` knows the rows of others.
    {"messages": [{"role", "content"}, ...]}  a chat; a last assistant turn is the gold answer
    {"prompt": ..., "completion": ...}                completion is optional
    {"input": ..., "output": ...}                     output is optional
and may carry `id`, `task`, `system`, `tools` and `metadata`. In a chat an assistant turn may have
`tool_calls`, and turns of role "tool" with their `tool_call_id` answer them, in OpenAI's form.
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

from mwalimu.data.chat import BadValue as BadValue
from mwalimu.data.chat import check_messages, check_tools, split_reference, text_value
from mwalimu.data.record import Message, Record
from mwalimu.errors import DataError

SHOWN_PROBLEMS = 20
PAIRS = (("prompt", "completion"), ("input", "output"))


@dataclass(frozen=True, slots=True)
class BadRow:
    """One problem: which line (0: the file as a whole), which field, what to do."""

    line: int
    field: str
    problem: str
    fix: str

    def render(self, path: Path) -> str:
        place = f"{path}:{self.line}" if self.line else f"{path}"
        field = f" {self.field}:" if self.field else ""
        return f"{place}:{field} {self.problem}; {self.fix}"


def default_id(split: str, line: int) -> str:
    """The id of a row that brings none."""
    return f"{split}-{line:06d}"


def bad_rows_error(path: Path, problems: list[BadRow]) -> DataError:
    """One error for all bad rows of a file."""
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
        raise DataError("no such file", where=str(path), fix="check the path")
    if path.is_dir():
        from mwalimu.data.folders import read_folder

        yield from read_folder(path)
        return
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix == ".parquet":
        yield from read_parquet(path)
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


def read_parquet(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """The rows of a Parquet file, from 1. Raises DataError where it is none."""
    import pyarrow.lib
    import pyarrow.parquet as parquet

    try:
        for number, row in enumerate(rows_of_batches(parquet.ParquetFile(path).iter_batches(1024))):
            yield number + 1, row
    except (pyarrow.lib.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"is not a readable Parquet file ({first})", where=str(path)) from None


def rows_of_batches(batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Of record batches of pyarrow."""
    for batch in batches:
        for row in batch.to_pylist():
            yield _without_nulls(row)


def _without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    """Parquet gives every message and every tool the fields of all others, as nulls."""
    given = {key: value for key, value in row.items() if value is not None}
    for key in given.keys() & {"messages", "tools", "conversations"}:
        given[key] = _pruned(_as_list(given[key]))
    return given


def _as_list(value: Any) -> Any:
    """`datasets` stores a Sequence of objects as one object of lists."""
    if not isinstance(value, dict) or not all(isinstance(one, list) for one in value.values()):
        return value
    if len({len(one) for one in value.values()}) != 1:
        return value
    return [dict(zip(value, turn, strict=True)) for turn in zip(*value.values(), strict=True)]


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(item) for key, item in value.items() if item is not None}
    return [_pruned(item) for item in value] if isinstance(value, list) else value


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
