"""The seeds and the accepted prompts, and whether a new one says much the same as one of them.

Similarity is Jaccard's, of the sets of words, with every prompt of the pool at once: exact, and at
these sizes faster than an index. Memory: 4 bytes a word and 16 bytes a prompt, beside each word
once; the texts are in SQLite, which spills to a temporary file.
"""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mwalimu.data.seen import private_database

# A word, or one character of a script that puts no spaces between words.
_SPACELESS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f"
_WORD = re.compile(rf"[{_SPACELESS}]|[^\W{_SPACELESS}]+")
NO_WORD = frozenset({""})


class Prompt(NamedTuple):
    """`number` counts from 0, the seeds first."""

    number: int
    id: str
    text: str
    system: str


class Alike(NamedTuple):
    """An accepted prompt and how similar it is, from 0 to 1."""

    id: str
    similarity: float


def words_of(text: str) -> frozenset[str]:
    """Without case; accents and digits count. Texts without words are all the same."""
    return frozenset(_WORD.findall(text.casefold())) or NO_WORD


def similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard's: common words of all words."""
    return len(one & other) / len(one | other)


class Pool:
    """Prompts of at most `most` similarity to each other, seeds apart. Use as a context manager.

    Arrays, P prompts of W words in all: `ids_W` the words' numbers, prompt after prompt; `starts_P`
    where each begins there; `sizes_P` how many words it has.
    """

    def __init__(self, most: float) -> None:
        self.most = most
        self.size = 0
        self._known: dict[str, int] = {}
        self._ids_W: NDArray[np.uint32] = np.zeros(1024, np.uint32)
        self._starts_P: NDArray[np.int64] = np.zeros(128, np.int64)
        self._sizes_P: NDArray[np.int64] = np.zeros(128, np.int64)
        self._used = 0
        self._db = private_database("prompts (number INTEGER PRIMARY KEY, id, text, system)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def add(self, identifier: str, text: str, system: str) -> int:
        """Keeps a prompt, whatever it is like; returns its number."""
        number, self.size = self.size, self.size + 1
        row = (number, identifier, text, system)
        self._db.execute("INSERT INTO prompts VALUES (?, ?, ?, ?)", row)
        ids = [self._known.setdefault(word, len(self._known)) for word in words_of(text)]
        self._ids_W = _with_room(self._ids_W, self._used + len(ids))
        self._starts_P = _with_room(self._starts_P, self.size)
        self._sizes_P = _with_room(self._sizes_P, self.size)
        self._ids_W[self._used : self._used + len(ids)] = ids
        self._starts_P[number], self._sizes_P[number] = self._used, len(ids)
        self._used += len(ids)
        return number

    def get(self, number: int) -> Prompt:
        row = self._db.execute("SELECT * FROM prompts WHERE number = ?", (number,)).fetchone()
        return Prompt(*row)

    def too_like(self, text: str, parent: int | None = None) -> Alike | None:
        """The most similar prompt above the limit, the earliest of equals; None without one.

        One of the very same words is above every limit. A prompt may be like the `parent` (a
        number) of which it is a rewriting.
        """
        if not self.size:
            return None
        found_P = self._similarities(words_of(text))
        above_P = (found_P > self.most) | (found_P == 1.0)
        if parent is not None and found_P[parent] < 1.0:
            above_P[parent] = False
        if not above_P.any():
            return None
        best = int(np.argmax(np.where(above_P, found_P, -1.0)))
        return Alike(self.get(best).id, float(found_P[best]))

    def _similarities(self, words: frozenset[str]) -> NDArray[np.float64]:
        """With every prompt, in order."""
        asked = np.zeros(len(self._known), np.uint8)
        asked[[self._known[word] for word in words if word in self._known]] = 1
        hits_W = asked[self._ids_W[: self._used]]
        starts_P, sizes_P = self._starts_P[: self.size], self._sizes_P[: self.size]
        common_P: NDArray[np.int64] = np.add.reduceat(hits_W, starts_P, dtype=np.int64)
        found_P: NDArray[np.float64] = common_P / (sizes_P + len(words) - common_P)
        return found_P


def _with_room(array: NDArray[Any], length: int) -> NDArray[Any]:
    """Twice as large where it is too small."""
    if length <= len(array):
        return array
    larger = np.zeros(2 * max(length, len(array)), array.dtype)
    larger[: len(array)] = array
    return larger
