"""An estimate is three numbers: what is likely, and the ends of the range it may lie in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, slots=True)
class Span:
    """`low <= mid <= high`. In sums and products the ends go together: the range is never too
    narrow for two estimates that err in the same direction.
    """

    mid: float
    low: float
    high: float

    @staticmethod
    def exactly(value: float) -> Span:
        return Span(value, value, value)

    def __add__(self, other: Span) -> Span:
        return Span(self.mid + other.mid, self.low + other.low, self.high + other.high)

    def __mul__(self, other: Span | float) -> Span:
        """By what is not negative."""
        if not isinstance(other, Span):
            other = Span.exactly(other)
        return Span(self.mid * other.mid, self.low * other.low, self.high * other.high)

    def capped(self, most: float) -> Span:
        return Span(min(self.mid, most), min(self.low, most), min(self.high, most))

    def mapped(self, function: Callable[[float], float]) -> Span:
        """By a function that never falls."""
        return Span(function(self.mid), function(self.low), function(self.high))

    def shown(self, form: str = ",.0f", unit: str = "") -> str:
        """`12 (9 to 15)`, or `12` where the range has no width to be seen."""
        mid, low, high = (format(value, form) for value in (self.mid, self.low, self.high))
        return f"{unit}{mid}" if low == mid == high else f"{unit}{mid} ({low} to {high})"

    def to_json(self) -> dict[str, float]:
        return {"mid": self.mid, "low": self.low, "high": self.high}


NOTHING = Span.exactly(0.0)
ONE = Span.exactly(1.0)


def total(spans: Iterable[Span]) -> Span:
    return sum(spans, NOTHING)


def slowest_of(spans: Iterable[Span]) -> Span:
    """Of what goes on at the same time."""
    mid = low = high = 0.0
    for span in spans:
        mid, low, high = max(mid, span.mid), max(low, span.low), max(high, span.high)
    return Span(mid, low, high)


def one_of(spans: Sequence[Span]) -> Span:
    """One of these will come true, nobody knows which."""
    return Span(fmean(s.mid for s in spans), min(s.low for s in spans), max(s.high for s in spans))


def rate(amounts: Sequence[float], sizes: Sequence[float], population: int | None = None) -> Span:
    """Amount for a unit of size, +/- 2 standard errors, from a random sample of rows.

    The ratio estimator: where long rows have much and short rows little, its error is far below
    that of a mean a row. `population` is the number of rows there are. Of a single row, which has
    no standard error, the range is half to double.
    """
    whole = math.fsum(sizes)
    if not whole:
        return NOTHING
    ratio = math.fsum(amounts) / whole
    count = len(sizes)
    if count < 2:
        seen_all = population == 1
        return Span.exactly(ratio) if seen_all else Span(ratio, ratio / 2, ratio * 2)
    left = math.fsum((a - ratio * s) ** 2 for a, s in zip(amounts, sizes, strict=True))
    unseen = 1.0 if not population else max(0.0, 1 - count / population)
    error = math.sqrt(left / (count - 1) / count * unseen) / (whole / count)
    return Span(ratio, max(0.0, ratio - 2 * error), ratio + 2 * error)
