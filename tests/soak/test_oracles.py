"""The soak's oracles, each on what it is there to see: a true soak never shows it to them."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mwalimu.synthesis.index import Spend
from tests.soak.flat import Watched
from tests.soak.teacher import fate_of
from tests.soak.test_soak import CONCURRENCY, ROOM, check_books, check_flat, check_rows, prompts
from tests.synthesis.faulty_server import answer_to

Rows = list[dict[str, Any]]


def outcomes() -> tuple[Rows, Rows]:
    """Train rows and rejects as a run leaves them that lost nothing."""
    train: Rows = []
    rejects: Rows = []
    for n, prompt in enumerate(prompts("job")):
        fate, _ = fate_of(prompt)
        if fate == "ok":
            train.append({"id": f"r{n}", "messages": [{"content": answer_to(prompt)}]})
        else:
            rejects.append({"id": f"r{n}", "status": fate})
    return train, rejects


def lost(train: Rows, _: Rows) -> None:
    del train[7]


def lost_reject(_: Rows, rejects: Rows) -> None:
    rejects.pop()


def twice(train: Rows, _: Rows) -> None:
    train.append(train[0])


def swapped(train: Rows, _: Rows) -> None:
    train[3]["messages"], train[4]["messages"] = train[4]["messages"], train[3]["messages"]


def saved(train: Rows, rejects: Rows) -> None:
    """A row whose teacher only ever fails has an answer from somewhere."""
    row = rejects.pop()
    prompt = prompts("job")[int(row["id"][1:])]
    train.append({"id": row["id"], "messages": [{"content": answer_to(prompt)}]})


def refused(train: Rows, rejects: Rows) -> None:
    rejects.append({"id": train.pop()["id"], "status": "truncated"})


@pytest.mark.parametrize("spoil", [None, lost, lost_reject, twice, swapped, saved, refused])
def test_rows(spoil: Callable[[Rows, Rows], None] | None, tmp_path: Path) -> None:
    train, rejects = outcomes()
    assert train and rejects
    if spoil is not None:
        spoil(train, rejects)
    for name, rows in (("train", train), ("rejects", rejects)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if spoil is None:
        return check_rows("job", tmp_path)
    with pytest.raises((AssertionError, KeyError)):
        check_rows("job", tmp_path)


def books(more: int = 0) -> Counter[str]:
    counts = Counter({prompt: fate_of(prompt)[1] for prompt in prompts("job")})
    counts[prompts("job")[0]] += more
    return counts


def spent(requests: int, still_open: int) -> list[Spend]:
    return [Spend(requests=requests, open_requests=still_open)]


def test_books_allow_what_was_in_flight() -> None:
    total = books().total()
    assert check_books(books(), ["job"], 0, spent(total, 0)) == 0
    assert check_books(books(3), ["job"], 1, spent(total + 3, 3)) == 3


def test_books_see_what_was_bought_twice() -> None:
    total = books().total()
    many = CONCURRENCY + 1
    with pytest.raises(AssertionError):  # nobody was killed
        check_books(books(1), ["job"], 0, spent(total + 1, 1))
    with pytest.raises(AssertionError):  # more than one kill can leave open
        check_books(books(many), ["job"], 1, spent(total + many, many))
    with pytest.raises(AssertionError):  # more than was open in a journal
        check_books(books(3), ["job"], 1, spent(total + 3, 2))


def test_books_see_what_nobody_journaled_or_asked() -> None:
    total = books().total()
    with pytest.raises(AssertionError):
        check_books(books(), ["job"], 0, spent(total - 1, 0))
    never = books()
    del never[prompts("job")[5]]
    with pytest.raises(AssertionError):
        check_books(never, ["job"], 0, spent(total, 0))
    fewer = books()
    failed_once = next(prompt for prompt in prompts("job") if fate_of(prompt)[1] == 2)
    fewer[failed_once] -= 1
    with pytest.raises(AssertionError):
        check_books(fewer, ["job"], 0, spent(total, 0))


@pytest.mark.parametrize("grows", [None, *ROOM])
def test_growth(grows: str | None) -> None:
    watched = Watched()
    for n in range(600):
        for name, room in ROOM.items():
            more = 2 * room * n / 600 if name == grows else 0.0
            getattr(watched, name).append(100 + more + n % 3)
    if grows is None:
        check_flat(watched)
    else:
        with pytest.raises(AssertionError, match=grows):
            check_flat(watched)
