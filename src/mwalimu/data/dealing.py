"""Rows dealt to workers by their number: worker w of n has rows w, w + n, w + 2 n, ...

Who gets a row depends on nothing but its number, and `together` puts what came of them back into
its order: so the result does not depend on how many workers there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def dealt(rows: Iterable[T], worker: int, of: int) -> Iterator[T]:
    """Those of `worker`, from 0, of so many."""
    return islice(rows, worker, None, of)


def together(parts: Sequence[Sequence[T]]) -> list[T]:
    """What each of the workers made of its rows, in the rows' order."""
    rows: list[T] = [part[0] for part in parts for _ in part]
    for worker, part in enumerate(parts):
        rows[worker :: len(parts)] = part
    return rows
