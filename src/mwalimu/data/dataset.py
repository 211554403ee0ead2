"""A set of rows, checked once and then streamed as often as it is needed, in constant memory.

Its format, ours or another's, is found by its first row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mwalimu.data.formats import Format, detect
from mwalimu.data.readers import BadRow, default_id
from mwalimu.data.record import Record
from mwalimu.data.seen import FirstSeen
from mwalimu.data.shards import Shards
from mwalimu.errors import DataError

KEPT_PROBLEMS = 1000


@dataclass(frozen=True, slots=True)
class Dataset:
    """`rows` good rows of `shards`; made by `open_dataset`, which has looked at every one."""

    shards: Shards
    task: str
    split: str
    rows: int
    format: Format

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Record]:
        return (record for _, record in self.numbered())

    @property
    def path(self) -> Path:
        return self.shards.path

    def numbered(self) -> Iterator[tuple[int, Record]]:
        """(the row's number in its set, record); `shards.place` says where that is."""
        return islice(self._records(), self.rows)

    def _records(self) -> Iterator[tuple[int, Record]]:
        for number, item in self.shards.rows():
            if isinstance(item, BadRow):
                raise self.shards.error([item])  # changed since it was checked
            identifier = default_id(self.split, number)
            yield number, self.format.record(item, task=self.task, default_id=identifier)


def open_dataset(path: Path, *, task: str, split: str, max_rows: int | None = None) -> Dataset:
    """Reads the whole set once; rows without an id are given `<split>-<row number>`.

    Raises:
        DataError: a file is missing, or all are empty, or lists its bad rows as file:line: field.
    """
    problems: list[BadRow] = []
    total = 0
    shards = Shards(path)
    found = detect(shards)
    with FirstSeen() as seen:
        for number, item in shards.rows():
            identifier = default_id(split, number)
            row = found.checked(
                number, item, task=task, default_id=identifier, seen=seen, place=shards.spoken
            )
            if not isinstance(row, BadRow):
                total += 1
            elif len(problems) < KEPT_PROBLEMS:
                problems.append(row)
    if problems:
        raise shards.error(problems)
    if not total:
        raise DataError("has no rows", where=str(path), fix="put one JSON object on each line")
    rows = total if max_rows is None else min(total, max_rows)
    return Dataset(shards, task, split, rows, found)


def load_records(path: Path, *, task: str, split: str) -> list[Record]:
    """All rows of a set that fits in memory. Raises DataError like `open_dataset`."""
    return list(open_dataset(path, task=task, split=split))
