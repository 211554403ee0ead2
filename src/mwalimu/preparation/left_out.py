"""Which rows of a split are left out, and why: six bytes a row, however many they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


class Why(NamedTuple):
    """`reason` is counted in the funnel; `detail` says more by the number kept with a row."""

    reason: str
    detail: Callable[[int], str]


class LeftOut:
    """Of a split of `rows`, by their numbers from 0. A later reason replaces an earlier one."""

    def __init__(self, rows: int) -> None:
        self._whys: list[Why] = []
        self._why = np.zeros(rows, np.uint16)  # 0: it stays
        self._with = np.zeros(rows, np.uint32)

    def __contains__(self, row: int) -> bool:
        return bool(self._why[row])

    def because(self, why: Why) -> Callable[[int, int], None]:
        """What leaves a row out for this reason, with the number of which it tells."""
        self._whys.append(why)
        code = len(self._whys)

        def leave_out(row: int, number: int = 0) -> None:
            self._why[row], self._with[row] = code, number

        return leave_out

    def of(self, row: int) -> tuple[str, str] | None:
        """(reason, detail); None where the row stays."""
        if not (code := int(self._why[row])):
            return None
        why = self._whys[code - 1]
        return why.reason, why.detail(int(self._with[row]))

    def counts(self) -> Counter[str]:
        """Rows by reason."""
        found: Counter[str] = Counter()
        for code, rows in enumerate(np.bincount(self._why).tolist()):
            if code and rows:
                found[self._whys[code - 1].reason] += rows
        return found

    def kept(self) -> Numbers:
        """The numbers of the rows that stay, ascending."""
        return np.flatnonzero(self._why == 0)
