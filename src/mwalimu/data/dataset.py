"""A file of rows, checked once and then streamed as often as it is needed, in constant memory.

Its format, ours or another's, is found by its first row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mwalimu.data.formats import Format, detect
from mwalimu.data.readers import BadRow, bad_rows_error, default_id, read_rows
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
    format: Format

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Record]:
        return (record for _, record in self.numbered())

    def numbered(self) -> Iterator[tuple[int, Record]]:
        """(line or row number, record)."""
        return islice(self._records(), self.rows)

    def _records(self) -> Iterator[tuple[int, Record]]:
        for line, item in read_rows(self.path):
            if isinstance(item, BadRow):
                raise bad_rows_error(self.path, [item])  # changed since it was checked
            identifier = default_id(self.split, line)
            yield line, self.format.record(item, task=self.task, default_id=identifier)


def open_dataset(path: Path, *, task: str, split: str, max_rows: int | None = None) -> Dataset:
    """Reads the whole file once; rows without an id are given `<split>-<row number>`.

    Raises:
        DataError: the file is missing or empty, or lists its bad rows as file:line: field.
    """
    problems: list[BadRow] = []
    total = 0
    found = detect(path)
    with FirstSeen() as seen:
        for line, item in read_rows(path):
            identifier = default_id(split, line)
            row = found.checked(line, item, task=task, default_id=identifier, seen=seen)
            if not isinstance(row, BadRow):
                total += 1
            elif len(problems) < KEPT_PROBLEMS:
                problems.append(row)
    if problems:
        raise bad_rows_error(path, problems)
    if not total:
        raise DataError("has no rows", where=str(path), fix="put one JSON object on each line")
    rows = total if max_rows is None else min(total, max_rows)
    return Dataset(path, task, split, rows, found)


def load_records(path: Path, *, task: str, split: str) -> list[Record]:
    """All rows of a file that fits in memory. Raises DataError like `open_dataset`."""
    return list(open_dataset(path, task=task, split=split))
