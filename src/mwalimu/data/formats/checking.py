"""Everything that is wrong with a file: rows that cannot be read, and rules that rows break."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mwalimu.data.formats.source import Source
from mwalimu.data.readers import BadRow
from mwalimu.data.record import Json
from mwalimu.data.seen import FirstSeen
from mwalimu.data.shards import Shards

KEPT = 10_000  # problems; of more only the number is known


@dataclass(frozen=True, slots=True)
class Findings:
    """`problems` in the order of the rows, those of the whole set last; `found` counts all."""

    shards: Shards
    rows: int
    problems: tuple[BadRow, ...]
    found: int


def check(source: Source) -> Findings:
    """Reads the whole set once; memory grows with the problems, not with the rows."""
    check = _Check(source)
    with FirstSeen() as seen:
        rows = check.readable(seen)
        if source.format.rules is not None:
            for problem in source.format.rules(rows, source.task):
                check.note(problem)
        for _ in rows:
            pass
    if not check.rows:
        check.note(BadRow(0, "", "has no rows", "put one JSON object on each line"))
    ordered = sorted(check.kept.values(), key=lambda one: (one.line == 0, one.line))
    return Findings(source.shards, check.rows, tuple(ordered), check.found)


class _Check:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.rows = 0
        self.found = 0
        self.kept: dict[tuple[int, str], BadRow] = {}

    def note(self, problem: BadRow) -> None:
        """Once for a field: reader and rules may say the same of it."""
        place = problem.line, problem.field
        if place not in self.kept:
            self.found += 1
            if len(self.kept) < KEPT:
                self.kept[place] = problem

    def readable(self, seen: FirstSeen) -> Iterator[tuple[int, Json]]:
        """The rows that are objects; what the reader says of each is noted behind it, since the
        rules are the more precise.
        """
        for line, row in self.source.rows():
            self.rows += 1
            if isinstance(row, BadRow):
                self.note(row)
                continue
            yield line, row
            # A row without an id gets one that no other row can have.
            found = self.source.format.checked(
                line,
                row,
                task=self.source.task,
                default_id=f"\0{line}",
                seen=seen,
                place=self.source.shards.spoken,
            )
            if isinstance(found, BadRow):
                self.note(found)
