"""How the rows are spread over labels and topics, who is short, and a cap on who is not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mwalimu.data.record import Record
from mwalimu.preparation.vectors import Embedded

SHORT = 0.25  # of an even share: with less, a group is under-represented
LONGEST_LABEL = 60  # characters; a longer gold answer is a text, not a label
NAMED = 20  # groups that the words name


@dataclass(frozen=True, slots=True)
class Group:
    """`share` of all rows. `weight` would give it an even share, the mean over all rows being 1."""

    name: str
    rows: int
    share: float
    weight: float


@dataclass(frozen=True, slots=True)
class Spread:
    """`evenness` is Pielou's (1966): entropy over its maximum, 1 where all groups are equal."""

    by: str
    rows: int
    evenness: float
    groups: tuple[Group, ...]

    @property
    def short(self) -> list[str]:
        """The under-represented groups."""
        return [group.name for group in self.groups if group.share * len(self.groups) < SHORT]

    def to_json(self) -> dict[str, Any]:
        groups = [
            {"name": g.name, "rows": g.rows, "share": g.share, "weight": g.weight}
            for g in self.groups
        ]
        facts = {"by": self.by, "rows": self.rows, "evenness": self.evenness, "groups": groups}
        return facts | {"under_represented": self.short, "words": self.in_words()}

    def in_words(self) -> str:
        if not self.groups:
            return f"no row has a {self.by}"
        largest = self.groups[0]
        said = (
            f"{self.rows:,} rows in {len(self.groups)} groups by {self.by}, evenness "
            f"{self.evenness:.2f}; the largest, {largest.name}, has {largest.share:.1%}"
        )
        if not self.short:
            return said
        more = f" and {len(self.short) - NAMED} more" if len(self.short) > NAMED else ""
        return f"{said}; under-represented: {', '.join(self.short[:NAMED])}{more}"


def label(record: Record) -> str | None:
    """The user's own `label`, else a gold answer that is short enough to be one."""
    named = record.metadata.get("label")
    if named is not None:
        return str(named)
    short = record.reference is not None and len(record.reference) <= LONGEST_LABEL
    return record.reference if short else None


def spread_of(names: Sequence[str | None], by: str) -> Spread:
    """Over the rows that have a name; the largest group first, then by name."""
    counts = Counter(name for name in names if name is not None)
    total = counts.total()
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    groups = tuple(
        Group(name, rows, rows / total, total / (len(counts) * rows)) for name, rows in ordered
    )
    entropy = -sum(group.share * math.log(group.share) for group in groups)
    evenness = entropy / math.log(len(groups)) if len(groups) > 1 else 1.0
    return Spread(by, total, evenness, groups)


def topics(embedded: Embedded, count: int, *, seed: int) -> list[str]:
    """A topic for each row, named by its number and the words that stand out in it.

    Mini-batch k-means (Sculley 2010) on vectors of length 1.
    """
    from sklearn.cluster import MiniBatchKMeans

    vectors = embedded.vectors
    means = MiniBatchKMeans(min(count, len(vectors)), random_state=seed, n_init=10)
    numbers = means.fit_predict(vectors)
    known = np.unique(numbers).tolist()
    terms = embedded.terms([np.flatnonzero(numbers == number).tolist() for number in known])
    named = zip(known, terms, strict=True)
    names = {number: f"{number}: {' '.join(found)}" for number, found in named}
    return [names[int(number)] for number in numbers]


def over_represented(names: Sequence[str | None], most: float, *, seed: int) -> list[int]:
    """The rows, drawn at random, that every group has beyond `most` times the median group's."""
    counts = Counter(name for name in names if name is not None)
    if not counts:
        return []
    cap = max(1, math.ceil(most * float(np.median(list(counts.values())))))
    members: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        if name is not None and counts[name] > cap:
            members.setdefault(name, []).append(number)
    random = np.random.default_rng(seed)
    beyond = (random.permutation(members[name])[cap:].tolist() for name in sorted(members))
    return sorted(number for numbers in beyond for number in numbers)
