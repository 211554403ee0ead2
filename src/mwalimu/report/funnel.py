"""From the prompts to the rows that were learned: what each stage took in, let go and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from mwalimu.report.examples import Rows
from mwalimu.report.wording import Row

OTHER = "other reasons"


class Step(NamedTuple):
    """One stage; `removed` by reason, the most frequent first."""

    title: str
    rows_in: int
    rows_out: int
    removed: tuple[tuple[str, int], ...]


def funnel(rows: Rows) -> list[Step]:
    """The steps that a run has, in order; all splits that are learned from together."""
    steps = [_prepared(rows), _answered(rows), _curated(rows)]
    return [step for step in steps if step]


def _prepared(rows: Rows) -> Step | None:
    found = next(rows("prepare", "prepare/funnel.json"), None)
    return _of_splits("prompts prepared", found["splits"]) if found else None


def _curated(rows: Rows) -> Step | None:
    found = next(rows("curate", "curate/funnel.json"), None)
    return _of_splits("answers curated", found["splits"]) if found else None


def _answered(rows: Rows) -> Step | None:
    ledger = next(rows("generate", "generate/ledger.json"), None)
    if ledger is None:
        return None
    outcomes: Counter[str] = Counter(ledger["outcomes"])
    kept = outcomes.pop("ok", 0)
    return Step("prompts answered", ledger["inputs"], kept, tuple(outcomes.most_common()))


def _of_splits(title: str, splits: Mapping[str, Row]) -> Step:
    removed: Counter[str] = Counter()
    for split in splits.values():
        removed.update(split["removed"])
    rows_in, rows_out = (sum(split[key] for split in splits.values()) for key in ("in", "out"))
    found = removed.most_common()
    if (unnamed := rows_in - rows_out - removed.total()) > 0:
        found.append((OTHER, unnamed))
    return Step(title, rows_in, rows_out, tuple(found))
