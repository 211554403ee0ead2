"""Decisions, each made once."""

from __future__ import annotations

from pathlib import Path

from mwalimu.auto.book import BOUGHT, CHOSEN, SHARED, Book, Decision


def test_a_decision_is_made_once_in_all_lives(tmp_path: Path) -> None:
    made: list[str] = []

    def decide(book: Book, step: str, said: str) -> str:
        def make() -> Decision:
            made.append(said)
            return Decision(step, said, {"n": len(made)})

        return book.once(step, make).said

    path = tmp_path / "decisions.json"
    book = Book(path, "a")
    assert decide(book, BOUGHT, "one") == decide(book, BOUGHT, "two") == "one"
    again = Book(path, "a")
    assert decide(again, BOUGHT, "three") == "one"
    assert decide(again, SHARED, "four") == "four" and made == ["one", "four"]
    other = Book(path, "another budget")
    assert [one.step for one in other.decisions] == [BOUGHT], "what was bought stays bought"
    assert decide(other, CHOSEN, "five") == "five"
    assert [one.step for one in Book(path, "another budget").decisions] == [BOUGHT, CHOSEN]
