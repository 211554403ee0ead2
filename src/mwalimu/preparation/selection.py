"""Of many prompts the k that teach most: an answer costs the same for a dull one."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mwalimu.data.readers import BadRow
from mwalimu.data.shards import Shards
from mwalimu.errors import DataError
from mwalimu.preparation.columns import hash_of
from mwalimu.preparation.vectors import Vectors, spread
from mwalimu.preparation.words import Hashes

WITNESSES = 2000  # rows, evenly spread, that the choice has to cover
SLACK = 0.01  # epsilon of the stochastic greedy choice


def coverage(vectors: Vectors, k: int, *, seed: int) -> list[int]:
    """k rows such that every row is like one of them, in ascending order.

    Greedy maximisation of the facility location, the sum over all rows i of max over chosen j of
    cos(i, j), clipped at 0: within 1 - 1/e of the best (Nemhauser, Wolsey and Fisher 1978). At each
    step the best of (n / k) ln(1 / SLACK) random rows is taken: 1 - 1/e - SLACK in expectation
    (Mirzasoleiman et al. 2015, "Lazier Than Lazy Greedy"). The sum goes over WITNESSES rows.
    """
    rows = len(vectors)
    if k >= rows:
        return list(range(rows))
    random = np.random.default_rng(seed)
    witnesses = vectors[spread(range(rows), WITNESSES)]
    covered = np.zeros(len(witnesses), np.float32)
    left = np.arange(rows)
    sample = max(1, math.ceil(rows / k * math.log(1 / SLACK)))
    chosen = []
    for _ in range(k):
        places = random.choice(len(left), min(sample, len(left)), replace=False)
        likeness = vectors[left[places]] @ witnesses.T
        gains = np.maximum(likeness - covered, 0).sum(axis=1)
        best = int(gains.argmax())
        np.maximum(covered, likeness[best], out=covered)
        chosen.append(int(left[places[best]]))
        left[places[best]] = left[-1]
        left = left[:-1]
    return sorted(chosen)


def highest(scores: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """The k rows of the highest scores, the earlier ones of equals; in ascending order."""
    return np.sort(np.argsort(-scores, kind="stable")[:k])


def at_random(rows: int, k: int, *, seed: int) -> NDArray[np.int64]:
    """k of the rows, in ascending order."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:k])


def read_scores(path: Path, ids: Iterable[str]) -> NDArray[np.float64]:
    """(ids,) the score of every row: a loss of the student, or how far several answers disagree.

    Memory: 16 bytes a score. Of a row that is scored twice the last counts.

    Raises:
        DataError: a line is no {"id", "score"} with a finite score, or a row has no score.
    """
    known, scores = _scores(path)
    found = array("d")
    missing, first = 0, ""
    for name in ids:
        value = hash_of(name)
        place = int(np.searchsorted(known, np.uint64(value), side="right")) - 1
        if place >= 0 and int(known[place]) == value:
            found.append(scores[place])
        else:
            missing, first = missing + 1, first or name
    if missing:
        raise DataError(
            f"{missing} rows have no score, {first} first",
            where=str(path),
            fix="score every row of data.train",
        )
    return np.array(found, np.float64)


def _scores(path: Path) -> tuple[Hashes, NDArray[np.float64]]:
    """(lines,) hashes of the ids, ascending, of one id in the order of the file; their scores."""
    ids, scores = array("Q"), array("d")
    shards = Shards(path)
    for row, item in shards.rows():
        score = None if isinstance(item, BadRow) else item.get("score")
        number = isinstance(score, int | float) and not isinstance(score, bool)
        if isinstance(item, BadRow) or score is None or not number or "id" not in item:
            raise DataError("is no score", where=shards.place(row), fix='write {"id", "score"}')
        if not math.isfinite(score):
            raise DataError(f"the score is {score}", where=shards.place(row), fix="leave it out")
        ids.append(hash_of(str(item["id"])))
        scores.append(float(score))
    known = np.array(ids, np.uint64)
    order = np.argsort(known, kind="stable")
    return known[order], np.array(scores, np.float64)[order]
