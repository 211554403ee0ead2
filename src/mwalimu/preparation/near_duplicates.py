"""Rows that nearly repeat an earlier one: MinHash signatures, compared where a band of them agrees.

A row is the set of its word pairs; two rows are near when the Jaccard similarity of their sets is
estimated at `threshold` or more. If a share s of the words of a row was replaced here and there,
the similarity is about (1 - 2s) / (1 + 2s): 0.82 for 5 %, 0.67 for 10 %, 0.5 for 17 %.

Signatures of 128 minima: Broder 1997, "On the resemblance and containment of documents". Of each
minimum one byte is kept: Li and König 2010, "b-Bit Minwise Hashing". Bands: Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", section 3.4. Rows of similarity J meet in a band with the
probability 1 - (1 - J^4)^32: 0.87 at 0.5, 0.99 at 0.6, 0.999 at 0.67.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from mwalimu.preparation.words import Hashes, grams, word_hashes, words

SIZE = 128  # minima; the deviation of an estimate is sqrt(J (1 - J) / SIZE)
BAND = 4  # minima in a band
BANDS = SIZE // BAND
SHINGLE = 2  # words
CHUNK = 2048  # rows that are hashed together
LOOK_BACK = 64  # kept rows of a band that a row is compared with: crowded bands cost no more

Signatures = NDArray[np.uint8]
"""(rows, SIZE)."""

_RANDOM = np.random.default_rng(20261128)
_FACTORS = _RANDOM.integers(0, 2**64, SIZE, dtype=np.uint64) | np.uint64(1)
_SHIFTS = _RANDOM.integers(0, 2**64, SIZE, dtype=np.uint64)


def shingles(text: str) -> Hashes:
    """Hashes of all word pairs; of a single word that word's."""
    hashed = word_hashes(words(text))
    pairs = grams(hashed, SHINGLE) if len(hashed) >= SHINGLE else hashed
    return _mixed(pairs)


def signatures(texts: Iterable[str]) -> Iterator[Signatures]:
    """Those of up to CHUNK texts at a time. A text without words is like every other such text."""
    iterator = iter(texts)
    while chunk := list(islice(iterator, CHUNK)):
        yield minima([shingles(text) for text in chunk])


def minima(rows: list[Hashes]) -> Signatures:
    """(rows, SIZE): a byte of the least hash of each row's shingles, under SIZE hash functions.

    The functions are the multiply-shift of Dietzfelbinger et al. 1997.
    """
    filled = [row if len(row) else np.zeros(1, np.uint64) for row in rows]
    starts = np.cumsum([0, *map(len, filled[:-1])])
    together = np.concatenate(filled)
    found = np.empty((len(rows), SIZE), np.uint8)
    hashed = np.empty_like(together)
    for number in range(SIZE):
        np.multiply(together, _FACTORS[number], out=hashed)
        hashed += _SHIFTS[number]
        found[:, number] = (np.minimum.reduceat(hashed, starts) >> np.uint64(32)).astype(np.uint8)
    return found


def similarity(one: Signatures, others: Signatures) -> NDArray[np.float64]:
    """Estimated Jaccard similarity of `one` (SIZE,) with each of `others` (n, SIZE).

    Bytes agree by chance in one of 256 (Li and König 2010, equation 5, for sets that are small
    beside all possible ones).
    """
    agreed = (others == one).mean(axis=1)
    estimated: NDArray[np.float64] = np.maximum(0.0, (agreed - 1 / 256) / (1 - 1 / 256))
    return estimated


def first_near(
    found: Signatures, settings: Hashes, threshold: float, *, protected: int = 0
) -> NDArray[np.int64]:
    """(rows,) the earliest kept row that each row is near to, -1 for a row that is kept.

    Rows are near only within one setting (see words.py). The first `protected` rows are all kept.
    Needs 264 bytes a row: 128 for the signature, 8 for the setting, 128 to find its like.
    """
    earlier = _same_band_before(found, settings)
    near = np.full(len(found), -1, np.int64)
    for row in np.flatnonzero((earlier >= 0).any(axis=1)):
        mine = earlier[row]
        _pass_over_dropped(mine, earlier, near)
        if row >= protected and len(candidates := _candidates(mine, earlier)):
            same = settings[candidates] == settings[row]
            close = same & (similarity(found[row], found[candidates]) >= threshold)
            if close.any():
                near[row] = candidates[close].min()
    return near


def _same_band_before(found: Signatures, settings: Hashes) -> NDArray[np.int32]:
    """(rows, BANDS) the last row before each one that has the same band, -1 if there is none."""
    earlier = np.full((len(found), BANDS), -1, np.int32)
    bands = np.ascontiguousarray(found).view(np.uint32)
    high = settings & np.uint64(0xFFFFFFFF00000000)
    for number in range(BANDS):
        keys = high | bands[:, number]
        order = np.argsort(keys, kind="stable")
        same = keys[order[1:]] == keys[order[:-1]]
        earlier[order[1:][same], number] = order[:-1][same]
    return earlier


def _pass_over_dropped(
    mine: NDArray[np.int32], earlier: NDArray[np.int32], near: NDArray[np.int64]
) -> None:
    """Points a row at kept rows. One step is enough: what it points at was pointed so before."""
    numbers = np.flatnonzero(mine >= 0)
    at = mine[numbers]
    mine[numbers] = np.where(near[at] >= 0, earlier[at, numbers], at)


def _candidates(mine: NDArray[np.int32], earlier: NDArray[np.int32]) -> NDArray[np.int64]:
    """The kept rows of all bands, LOOK_BACK of each at most."""
    found: set[int] = set()
    for number in np.flatnonzero(mine >= 0):
        at = int(mine[number])
        for _ in range(LOOK_BACK):
            if at < 0:
                break
            found.add(at)
            at = int(earlier[at, number])
    return np.array(sorted(found), np.int64)


def _mixed(hashes: Hashes) -> Hashes:
    """The finaliser of SplitMix64: every bit depends on all."""
    mixed = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
