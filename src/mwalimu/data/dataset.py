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
    checking = Checking(path, task=task, split=split, max_rows=max_rows)
    for _ in checking:
        pass
    return checking.dataset


class Checking:
    """A set that is checked while it is gone through for the first time: one pass, where
    `open_dataset` takes one and its use another.

    Whoever goes through it gets the rows before the last is known to be good: it is for looking,
    not for spending. At the end it raises what `open_dataset` raises.
    """

    def __init__(self, path: Path, *, task: str, split: str, max_rows: int | None = None) -> None:
        self._shards = Shards(path)
        self._format = detect(self._shards)
        self._task, self._split, self._most = task, split, max_rows
        self._dataset: Dataset | None = None

    @property
    def dataset(self) -> Dataset:
        """The set, once all of it was gone through."""
        if self._dataset is None:
            raise ValueError("the rows are not checked yet")
        return self._dataset

    def __iter__(self) -> Iterator[Record]:
        return self._checked() if self._dataset is None else iter(self._dataset)

    def _checked(self) -> Iterator[Record]:
        problems: list[BadRow] = []
        total, shards = 0, self._shards
        with FirstSeen() as seen:
            for number, item in shards.rows():
                row = self._format.checked(
                    number,
                    item,
                    task=self._task,
                    default_id=default_id(self._split, number),
                    seen=seen,
                    place=shards.spoken,
                )
                if isinstance(row, BadRow):
                    problems += [row] if len(problems) < KEPT_PROBLEMS else []
                    continue
                total += 1
                if self._most is None or total <= self._most:
                    yield row
        if problems:
            raise shards.error(problems)
        if not total:
            fix = "put one JSON object on each line"
            raise DataError("has no rows", where=str(shards.path), fix=fix)
        rows = total if self._most is None else min(total, self._most)
        self._dataset = Dataset(shards, self._task, self._split, rows, self._format)


def load_records(path: Path, *, task: str, split: str) -> list[Record]:
    """All rows of a set that fits in memory. Raises DataError like `open_dataset`."""
    return list(open_dataset(path, task=task, split=split))
