"""A pass over the rows: it takes them one after another and gives each out with its verdict.

A check of single rows becomes a pass by `each`; a pass may also look at several rows before it
says anything of the first (samples of one prompt, near-duplicates), and may change a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from mwalimu.curation.row import Answered, Row
from mwalimu.curation.verdict import KEPT, Verdict

Check = Callable[[Answered], Verdict]
Judged = tuple[Row, Verdict]
Pass = Callable[[Iterable[Row]], Iterator[Judged]]
Rejected = Callable[[str, Row, Verdict], None]
"""Called with the name of the check, the row, and what was found."""


def each(check: Check) -> Pass:
    """The first fault among the answers that a row teaches."""

    def judged(rows: Iterable[Row]) -> Iterator[Judged]:
        for row in rows:
            verdicts = map(check, row.answers)
            yield row, next((verdict for verdict in verdicts if not verdict.keep), KEPT)

    return judged


def survivors(
    rows: Iterable[Row], passes: Iterable[tuple[str, Pass]], rejected: Rejected
) -> Iterator[Row]:
    """The rows that every pass keeps, in order; a pass sees only what those before it kept."""
    for name, one in passes:
        rows = _kept(name, one(rows), rejected)
    yield from rows


def _kept(name: str, judged: Iterable[Judged], rejected: Rejected) -> Iterator[Row]:
    for row, verdict in judged:
        if verdict.keep:
            yield row
        else:
            rejected(name, row, verdict)
