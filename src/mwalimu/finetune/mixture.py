"""Which rows an epoch has where groups of them are to come more often than others.

A pure function of (seed, epoch), like the order of the rows. An epoch has as many rows as there
are, so that recipes of different mixtures train for equally long.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mwalimu.config import MixtureConfig
from mwalimu.data.examples import examples_of
from mwalimu.errors import DataError


@dataclass(frozen=True, slots=True)
class Mixture:
    """`members` are the rows of each group by their numbers; `weights` those of its rows."""

    members: Mapping[str, Sequence[int]]
    weights: Mapping[str, float]

    def rows(self, *, seed: int, epoch: int) -> list[int]:
        """The numbers of an epoch's rows, ascending.

        A group comes whole as often as its share allows, and with what is left of the share by a
        draw of its own in each epoch.
        """
        found: list[int] = []
        for group, count in self._counts().items():
            rows = self.members[group]
            rng = random.Random(f"{seed}:{epoch}:{group}")
            whole, rest = divmod(count, len(rows))
            found += [*rows] * whole + rng.sample(rows, rest)
        return sorted(found)

    def _counts(self) -> dict[str, int]:
        """Rows of each group in an epoch, in shares of size times weight, by largest remainder."""
        masses = {group: len(rows) * self.weights[group] for group, rows in self.members.items()}
        total, rows = sum(masses.values()), sum(map(len, self.members.values()))
        exact = {group: rows * mass / total for group, mass in masses.items()}
        counts = {group: int(share) for group, share in exact.items()}
        largest = sorted(exact, key=lambda group: (counts[group] - exact[group], group))
        for group in largest[: rows - sum(counts.values())]:
            counts[group] += 1
        return counts


def mixture_of(settings: MixtureConfig | None, rows: Sequence[Mapping[str, Any]]) -> Mixture | None:
    """Of the examples that `rows` teach, in their order; None where none is asked for.

    Raises:
        DataError: a group is named that no row is of, or no row is left.
    """
    if settings is None:
        return None
    members = groups_of(settings.by, rows)
    if unknown := sorted(settings.weights.keys() - members.keys()):
        raise DataError(
            f"names {', '.join(unknown)}, of which there is no row",
            where="finetune.mixture.weights",
            fix=f"by {settings.by} there are: {', '.join(sorted(members)[:20])}",
        )
    weights = {group: settings.weights.get(group, 1.0) for group in members}
    if not any(weights.values()):
        fix = "give one group a weight above 0"
        raise DataError("leaves no row to learn", where="finetune.mixture.weights", fix=fix)
    return Mixture(members, weights)


def groups_of(by: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Group -> the numbers of its examples. A row without the key is of the group ''."""
    members: dict[str, list[int]] = {}
    number = 0
    for row in rows:
        named = row.get("task") if by == "task" else (row.get("metadata") or {}).get(by)
        group = members.setdefault("" if named is None else str(named), [])
        for _ in examples_of(row):
            group.append(number)
            number += 1
    return members
