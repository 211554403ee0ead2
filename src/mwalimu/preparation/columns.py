"""What is known of every row of a set, held as a hash a row: texts are read again where needed."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from mwalimu.data.record import Record
from mwalimu.preparation.words import Hashes

NOTHING = 0
"""The hash of a row that has no name."""


def hash_of(text: str) -> int:
    """64 bits: two of ten million texts are taken for one with a chance of 3 in a million."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def hashes_of(texts: Iterable[str | None]) -> Hashes:
    """(texts,), NOTHING for None."""
    found = array("Q", (NOTHING if text is None else hash_of(text) for text in texts))
    return np.frombuffer(found, np.uint64) if found else np.empty(0, np.uint64)


class Names(Sequence["str | None"]):
    """A name for each row, or none: 8 bytes a row, and each name once."""

    def __init__(self, hashes: Hashes, texts: dict[int, str]) -> None:
        self.hashes = hashes
        self._texts = texts

    @classmethod
    def of(cls, hashes: Hashes, texts: Iterable[str | None]) -> Names:
        """`texts` are those of `hashes`, gone through until each name is known."""
        distinct = len(np.unique(hashes[hashes != NOTHING]))
        found: dict[int, str] = {}
        for text in texts:
            if len(found) == distinct:
                break
            if text is not None:
                found.setdefault(hash_of(text), text)
        return cls(hashes, found)

    def at(self, numbers: NDArray[np.int64]) -> Names:
        """Those of some rows."""
        return Names(self.hashes[numbers], self._texts)

    def __len__(self) -> int:
        return len(self.hashes)

    @overload
    def __getitem__(self, row: int) -> str | None: ...
    @overload
    def __getitem__(self, row: slice) -> Names: ...
    def __getitem__(self, row: int | slice) -> str | Names | None:
        if isinstance(row, slice):
            return Names(self.hashes[row], self._texts)
        return self._texts.get(int(self.hashes[row]))

    def __iter__(self) -> Iterator[str | None]:
        return (self._texts.get(value) for value in map(int, self.hashes))


class Texts:
    """A text of each row, made anew at every pass over the rows."""

    def __init__(self, rows: Any, text: Callable[[Record], str]) -> None:
        self._rows = rows
        self._text = text

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return map(self._text, self._rows)
