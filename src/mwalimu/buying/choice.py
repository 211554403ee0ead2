"""Which prompts to buy next: those that the student doubts, and not one prompt a hundred times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mwalimu.buying.looking import Floats
from mwalimu.data.record import Record
from mwalimu.preparation.near_duplicates import Signatures, signatures, similarity
from mwalimu.preparation.words import turns

SHORTLIST = 3  # times the batch: so many of the doubted are drawn, and of them the batch chosen


def at_random(rows: int, count: int, *, seed: int) -> list[int]:
    """`count` row numbers in the order in which they are to be bought."""
    order: list[int] = np.random.default_rng(seed).permutation(rows)[:count].tolist()
    return order


def by_doubt(rows: Sequence[Record], doubts: Floats, count: int, *, seed: int) -> list[int]:
    """`count` row numbers, ascending: doubted rows that are unlike each other.

    A shortlist is drawn without replacement in proportion to the doubts, and from it those chosen
    that are farthest from what is chosen already.
    """
    if count >= len(rows):
        return list(range(len(rows)))
    short = drawn(doubts, SHORTLIST * count, seed=seed)
    texts = [turns(rows[number]) for number in short]
    chosen = farthest(np.concatenate(list(signatures(texts))), count)
    return sorted(short[place] for place in chosen)


def drawn(doubts: Floats, count: int, *, seed: int) -> list[int]:
    """`count` of the rows, drawn without replacement in proportion to `doubts`, the first first.

    The `count` highest of log(doubt) + Gumbel noise (Kool et al. 2019, "Stochastic Beams"): "power
    acquisition" of Kirsch et al. 2023 (arXiv 2106.12059). The `count` most doubted themselves
    would be the same few kinds of prompt, and an outlier or a typing error is doubted most of all.
    """
    random = np.random.default_rng(seed)
    keys = np.log(np.maximum(doubts, 1e-12)) + random.gumbel(size=len(doubts))
    order: list[int] = np.argsort(-keys, kind="stable")[:count].tolist()
    return order


def farthest(found: Signatures, count: int) -> list[int]:
    """`count` rows, each the least like those before it; the first row is the first of them.

    The greedy 2-approximation of k-centre (Gonzalez 1985) on the estimated Jaccard similarity of
    word pairs; of equals the earlier row.
    """
    chosen = [0]
    nearest = similarity(found[0], found)
    while len(chosen) < min(count, len(found)):
        nearest[chosen[-1]] = np.inf
        chosen.append(int(nearest.argmin()))
        np.maximum(nearest, similarity(found[chosen[-1]], found), out=nearest)
    return chosen
