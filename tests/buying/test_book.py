from __future__ import annotations

from pathlib import Path

import pytest

from mwalimu.buying.book import Book
from mwalimu.buying.forecast import Point
from mwalimu.buying.ledger import Paid
from mwalimu.errors import RunError
from mwalimu.run import Run

PAID = Paid(0.01, {"requests": 3.0}, {"requests": 1.0})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    book = Book(Run(tmp_path))
    assert not book.is_chosen(0) and not book.is_measured(0) and book.measured() == ()
    book.choose(0, ["a", "b"])
    book.choose(1, ["c"], cut=True)
    assert book.ids(0) == ["a", "b"] and book.bought(2) == {"a", "b", "c"}
    assert not book.was_cut(0) and book.was_cut(1)
    point = Point(2, (1.0, 0.5), 7)
    book.measure(0, point, PAID)
    assert book.measured() == book.points(1) == (point,) and book.paid(0) == PAID


def test_other_facts_are_refused_and_the_same_are_not(tmp_path: Path) -> None:
    book = Book(Run(tmp_path))
    book.require_same({"pool": "a", "seed": 0})
    book.require_same({"seed": 0, "pool": "a"})
    with pytest.raises(RunError, match="use a new --run"):
        book.require_same({"pool": "b", "seed": 0})
