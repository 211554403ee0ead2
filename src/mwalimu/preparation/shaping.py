"""Which of the clean training rows are kept, by group and by budget, and how they are spread."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from mwalimu.config import Config, SelectConfig
from mwalimu.data.dataset import Dataset
from mwalimu.preparation.columns import NOTHING, Names, Texts, hashes_of
from mwalimu.preparation.diversity import label, over_represented, spread_of, topics
from mwalimu.preparation.left_out import LeftOut, Numbers, Why
from mwalimu.preparation.selection import at_random, coverage, highest, read_scores
from mwalimu.preparation.vectors import Embedded, embed
from mwalimu.preparation.words import Hashes, turns

TOPICS = 20  # where prepare.topics does not say how many


def shape(config: Config, train: Dataset, out: LeftOut) -> dict[str, Any]:
    """Adds to `out` what is left out beside what is out already; returns the report on diversity.

    Memory: 16 bytes a row, and 256 more where topics or coverage are asked for; texts are read
    again where they are needed.
    """
    table = _Table(config, train)
    settings = config.prepare
    kept = out.kept()
    if settings.balance is not None:
        names = table.names(settings.balance.by)
        leave_out = out.because(Why("over-represented", lambda row: str(names[row])))
        here = names.at(kept)
        for at in over_represented(here, settings.balance.most, seed=config.seed):
            leave_out(int(kept[at]), int(kept[at]))
        kept = out.kept()
    if settings.select is not None:
        by = f"by {settings.select.by}"
        leave_out = out.because(Why("not selected", lambda _: by))
        chosen = np.zeros(len(kept), bool)
        chosen[_selected(settings.select, table, kept, config.seed)] = True
        for row in kept[~chosen].tolist():
            leave_out(row, 0)
        kept = out.kept()
    return _report(table, settings.topics is not None, kept)


class _Table:
    """The training rows as columns; each is made when it is first asked for."""

    def __init__(self, config: Config, train: Dataset) -> None:
        self._config = config
        self._train = train

    def ids(self, kept: Numbers) -> Iterator[str]:
        """Of the rows at these ascending numbers."""
        stays = np.zeros(len(self._train), bool)
        stays[kept] = True
        return (record.id for record, stay in zip(self._train, stays, strict=True) if stay)

    @cached_property
    def label_hashes(self) -> Hashes:
        return hashes_of(map(label, self._train))

    @cached_property
    def labels(self) -> Names:
        return Names.of(self.label_hashes, map(label, self._train))

    @cached_property
    def embedded(self) -> Embedded:
        return embed(Texts(self._train, turns), seed=self._config.seed)

    @cached_property
    def topics(self) -> Names:
        count = self._config.prepare.topics or TOPICS
        found = topics(self.embedded, count, seed=self._config.seed)
        return Names.of(hashes_of(found), found)

    def names(self, by: str) -> Names:
        return self.labels if by == "label" else self.topics


def _selected(select: SelectConfig, table: _Table, kept: Numbers, seed: int) -> Numbers | list[int]:
    """Places in `kept`."""
    if select.scores is not None:
        return highest(read_scores(select.scores, table.ids(kept)), select.rows)
    if select.by == "random":
        return at_random(len(kept), select.rows, seed=seed)
    return coverage(table.embedded.vectors[kept], select.rows, seed=seed)


def _report(table: _Table, with_topics: bool, kept: Numbers) -> dict[str, Any]:
    """Labels where they are some: a name that each row has alone is none."""
    columns = {"label": table.labels} if _are_labels(table.label_hashes) else {}
    if with_topics:
        columns["topic"] = table.topics
    return {
        by: {
            "before": spread_of(names, by).to_json(),
            "after": spread_of(names.at(kept), by).to_json(),
        }
        for by, names in columns.items()
    }


def _are_labels(hashes: Hashes) -> bool:
    given = hashes[hashes != NOTHING]
    return 0 < 2 * len(np.unique(given)) <= len(given)
