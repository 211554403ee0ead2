"""A set of rows in a known format, with the file of its requests where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from mwalimu.data.formats import Format, detect, named
from mwalimu.data.formats.paid_answers import REQUEST
from mwalimu.data.readers import BadRow, default_id
from mwalimu.data.record import Json, Record
from mwalimu.data.seen import FirstSeen
from mwalimu.data.shards import Shards
from mwalimu.errors import ConfigError

SHOWN_ID = 60


@dataclass(frozen=True, slots=True)
class Source:
    """Made by `open_source`; gone through as often as it is needed, in constant memory."""

    shards: Shards
    format: Format
    task: str
    requests: Path | None = None

    @property
    def path(self) -> Path:
        return self.shards.path

    def rows(self) -> Iterator[tuple[int, Json | BadRow]]:
        """(number, row), each with its request where that is in a file of its own."""
        if self.requests is None:
            yield from self.shards.rows()
            return
        field = self.format.joined_by
        with FirstSeen() as asked:
            for _, request in Shards(self.requests).rows():
                if not isinstance(request, BadRow):
                    asked.first(str(request.get(field)), orjson.dumps(request).decode())
            for line, row in self.shards.rows():
                if not isinstance(row, BadRow):
                    found = asked.first(str(row.get(field)), "null")
                    row = row | {REQUEST: orjson.loads(str(found or "null"))}
                yield line, row

    def records(self) -> Iterator[tuple[int, Record | BadRow]]:
        """(number, record or its problem); two rows of one id are a problem of the second."""
        split = self.shards.name
        with FirstSeen() as seen:
            for line, row in self.rows():
                yield (
                    line,
                    self.format.checked(
                        line,
                        row,
                        task=self.task,
                        default_id=default_id(split, line),
                        seen=seen,
                        place=self.shards.spoken,
                        shown_id=SHOWN_ID,
                    ),
                )


def open_source(
    path: Path, *, task: str = "generic", name: str | None = None, requests: Path | None = None
) -> Source:
    """The format is the one of that `name`, or else found by the first row.

    Raises:
        DataError: there is nothing to read.
        ConfigError: no such format, or one whose requests are in the same file.
    """
    shards = Shards(path)
    found = detect(shards) if name is None else named(name)
    if requests is not None and not found.joined_by:
        raise ConfigError(
            f"is for results of batches, and {path} is in format {found.name}",
            where="--requests",
            fix="leave it out",
        )
    return Source(shards, found, task, requests)
