"""The questions that a server kept: files of rows in a folder, written by `serving/traffic.py`.

    {"id", "task", "messages": [...], "metadata": {"source", "confidence", "probability"},
     "student": ..., "teacher": ..., "model": ..., "time": ...}

`messages` is the conversation as the client sent it, without an answer: a row is a prompt, which
every reader of rows takes. `source` is "escalated" (the teacher answered) or "kept" (a sample of
the others, `teacher` null); `probability` is that of the question having been written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from mwalimu.data.chat import BadValue
from mwalimu.data.readers import BadRow, to_record
from mwalimu.data.record import Record
from mwalimu.data.shards import Shards
from mwalimu.errors import DataError

ANSWERS = "answers"
"""Of the folder: the answer store with what the teacher said, as it said it."""

_NAME = "traffic-{:06d}.jsonl"


def traffic_file(folder: Path, number: int) -> Path:
    """They are numbered from 1 and never renamed, so that a reader may come at any time."""
    return folder / _NAME.format(number)


def traffic_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("traffic-??????.jsonl"))


def read_traffic(folder: Path, *, task: str, note: Callable[[str], None]) -> Iterator[Record]:
    """The questions in the order of the files, one at a time; the server may write meanwhile.

    Raises:
        DataError: there is no such folder, nothing in it, or a damaged line that is not the last.
    """
    files = traffic_files(folder)
    if not files:
        raise DataError(
            "has no traffic", where=str(folder), fix="name the folder of 'mwalimu serve --traffic'"
        )
    for path in files:
        for line, row in whole_rows(path, note):
            try:
                yield to_record(row, task=task, default_id=f"{path.stem}-{line}")
            except BadValue as bad:
                problem = BadRow(line, bad.field, bad.problem, bad.fix)
                raise Shards(path).error([problem]) from None


def whole_rows(path: Path, note: Callable[[str], None]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, row); a last line without its end is what a killed server left, and is left out.

    Raises:
        DataError: another line is no JSON object.
    """
    with open(path, "rb") as handle:
        for number, line in enumerate(handle, 1):
            if not line.endswith(b"\n"):
                note(f"{path}:{number}: is torn, its server was stopped in it; left out")
                return
            yield number, _row(path, number, line)


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
        if isinstance(row, dict):
            return row
        problem = "is no JSON object"
    except orjson.JSONDecodeError as error:
        problem = f"is no JSON ({error.msg})"
    raise Shards(path).error([BadRow(number, "", problem, "take the line out")])
