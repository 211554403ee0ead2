"""Which of the clean training rows are kept, by group and by budget, and how they are spread."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from mwalimu.config import Config, SelectConfig
from mwalimu.data.dataset import Dataset
from mwalimu.preparation.diversity import label, over_represented, spread_of, topics
from mwalimu.preparation.selection import at_random, coverage, highest, read_scores
from mwalimu.preparation.vectors import Embedded, embed
from mwalimu.preparation.words import turns

TOPICS = 20  # where prepare.topics does not say how many

Why = tuple[str, str]
"""(reason, detail)"""


def shape(
    config: Config, train: Dataset, gone: Collection[int]
) -> tuple[dict[int, Why], dict[str, Any]]:
    """(row number -> why it is left out, the report on diversity); rows in `gone` are out already.

    Memory: labels always; texts and 256 bytes a row where topics or coverage are asked for.
    """
    table = _Table(config, train)
    settings = config.prepare
    kept = [number for number in range(len(train)) if number not in gone]
    out: dict[int, Why] = {}
    if settings.balance is not None:
        names = table.names(settings.balance.by)
        here = [names[number] for number in kept]
        excess = over_represented(here, settings.balance.most, seed=config.seed)
        out |= {kept[at]: ("over-represented", str(here[at])) for at in excess}
        kept = [number for number in kept if number not in out]
    if settings.select is not None:
        chosen = set(_selected(settings.select, table, kept, config.seed))
        by = f"by {settings.select.by}"
        out |= {number: ("not selected", by) for at, number in enumerate(kept) if at not in chosen}
        kept = [number for number in kept if number not in out]
    return out, _report(table, settings.topics is not None, kept)


class _Table:
    """The training rows as columns; each is made when it is first asked for."""

    def __init__(self, config: Config, train: Dataset) -> None:
        self._config = config
        self._train = train

    @cached_property
    def ids(self) -> list[str]:
        return [record.id for record in self._train]

    @cached_property
    def labels(self) -> list[str | None]:
        return [label(record) for record in self._train]

    @cached_property
    def embedded(self) -> Embedded:
        return embed([turns(record) for record in self._train], seed=self._config.seed)

    @cached_property
    def topics(self) -> list[str]:
        count = self._config.prepare.topics or TOPICS
        return topics(self.embedded, count, seed=self._config.seed)

    def names(self, by: str) -> Sequence[str | None]:
        return self.labels if by == "label" else self.topics


def _selected(select: SelectConfig, table: _Table, kept: list[int], seed: int) -> list[int]:
    """Places in `kept`."""
    if select.scores is not None:
        return highest(read_scores(select.scores, [table.ids[n] for n in kept]), select.rows)
    if select.by == "random":
        return at_random(len(kept), select.rows, seed=seed)
    return coverage(table.embedded.vectors[np.array(kept, np.int64)], select.rows, seed=seed)


def _report(table: _Table, with_topics: bool, kept: list[int]) -> dict[str, Any]:
    """Labels where they are some: a name that each row has alone is none."""
    groups = {"label": table.labels} if _are_labels(table.labels) else {}
    columns: dict[str, Sequence[str | None]] = {**groups}
    if with_topics:
        columns["topic"] = table.topics
    return {
        by: {
            "before": spread_of(names, by).to_json(),
            "after": spread_of([names[number] for number in kept], by).to_json(),
        }
        for by, names in columns.items()
    }


def _are_labels(names: Sequence[str | None]) -> bool:
    given = [name for name in names if name is not None]
    return 0 < 2 * len(set(given)) <= len(given)
