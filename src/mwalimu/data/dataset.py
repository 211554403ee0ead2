"""A file of rows, checked once and then streamed as often as it is needed, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mwalimu.data.readers import (
    BadRow,
    BadValue,
    bad_rows_error,
    default_id,
    read_rows,
    to_record,
)
from mwalimu.data.record import Record
from mwalimu.data.seen import FirstSeen
from mwalimu.errors import DataError

KEPT_PROBLEMS = 1000


@dataclass(frozen=True, slots=True)
class Dataset:
    """`rows` good rows of `path`; made by `open_dataset`, which has looked at every one."""

    path: Path
    task: str
    split: str
    rows: int

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Record]:
        return islice(self._records(), self.rows)

    def _records(self) -> Iterator[Record]:
        for line, item in read_rows(self.path):
            if isinstance(item, BadRow):
                raise bad_rows_error(self.path, [item])  # changed since it was checked
            yield to_record(item, task=self.task, default_id=default_id(self.split, line))


def open_dataset(path: Path, *, task: str, split: str, max_rows: int | None = None) -> Dataset:
    """Reads the whole file once; rows without an id are given `<split>-<row number>`.

    Raises:
        DataError: the file is missing or empty, or lists its bad rows as file:line: field.
    """
    problems: list[BadRow] = []
    total = 0
    with FirstSeen() as seen:
        for line, item in read_rows(path):
            problem = _problem(line, item, task, split, seen)
            if problem is None:
                total += 1
            elif len(problems) < KEPT_PROBLEMS:
                problems.append(problem)
    if problems:
        raise bad_rows_error(path, problems)
    if not total:
        raise DataError("has no rows", where=str(path), fix="put one JSON object on each line")
    return Dataset(path, task, split, total if max_rows is None else min(total, max_rows))


def load_records(path: Path, *, task: str, split: str) -> list[Record]:
    """All rows of a file that fits in memory. Raises DataError like `open_dataset`."""
    return list(open_dataset(path, task=task, split=split))


def _problem(
    line: int, item: dict[str, object] | BadRow, task: str, split: str, seen: FirstSeen
) -> BadRow | None:
    if isinstance(item, BadRow):
        return item
    try:
        record = to_record(item, task=task, default_id=default_id(split, line))
    except BadValue as bad:
        return BadRow(line, bad.field, bad.problem, bad.fix)
    first = seen.first(record.id, line)
    if first is None:
        return None
    text = f"{record.id!r} is also the id of line {first}"
    return BadRow(line, "id", text, "give every row an id of its own")
