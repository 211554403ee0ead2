"""Which prompts to buy next: those that the student doubts, and not one prompt a hundred times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mwalimu.buying.looking import Floats
from mwalimu.data.record import Record
from mwalimu.preparation.near_duplicates import Signatures, signatures, similarity
from mwalimu.preparation.words import turns

POWER = 8
"""Of the doubts in the draw. 1 saves half as many calls, and the most doubted themselves no more,
in the first rounds fewer: docs/buying.md has the measurement."""
NEAR = 0.7  # Jaccard similarity of word pairs from which a row repeats another


def at_random(rows: int, count: int, *, seed: int) -> list[int]:
    """`count` row numbers in the order in which they are to be bought."""
    order: list[int] = np.random.default_rng(seed).permutation(rows)[:count].tolist()
    return order


def by_doubt(rows: Sequence[Record], doubts: Floats, count: int, *, seed: int) -> list[int]:
    """`count` row numbers, ascending: doubted rows of which none repeats another.

    Rows that do are taken only where the others are too few.
    """
    order = drawn(doubts, seed=seed)
    texts = [turns(rows[number]) for number in order]
    if not texts:
        return []
    places = apart(np.concatenate(list(signatures(texts))), count)
    return sorted(order[place] for place in places)


def drawn(doubts: Floats, *, seed: int) -> list[int]:
    """All rows, drawn without replacement in proportion to doubts^POWER, the first first.

    The order of POWER log(doubt) + Gumbel noise (Kool et al. 2019, "Stochastic Beams"): the "power
    acquisition" of Kirsch et al. 2023 (arXiv 2106.12059). The most doubted themselves would be
    the same few kinds of prompt, and an outlier or a typing error is doubted most of all.
    """
    random = np.random.default_rng(seed)
    keys = POWER * np.log(np.maximum(doubts, 1e-12)) + random.gumbel(size=len(doubts))
    order: list[int] = np.argsort(-keys, kind="stable").tolist()
    return order


def apart(found: Signatures, count: int) -> list[int]:
    """The first `count` rows that are near no earlier one of them, then the first of the others."""
    chosen: list[int] = []
    passed: list[int] = []
    for place in range(len(found)):
        if len(chosen) == count:
            return chosen
        near = chosen and similarity(found[place], found[chosen]).max() >= NEAR
        (passed if near else chosen).append(place)
    return [*chosen, *passed][:count]
