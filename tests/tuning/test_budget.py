"""The words of a budget."""

import pytest

from mwalimu.errors import ConfigError
from mwalimu.tuning.budget import Budget, Spent, parse_budget


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("2h", Budget(seconds=7200)),
        ("30m", Budget(seconds=1800)),
        ("90s", Budget(seconds=90)),
        ("1.5d", Budget(seconds=129600)),
        ("20usd", Budget(usd=20)),
        ("0.5 USD", Budget(usd=0.5)),
        ("50trials", Budget(trials=50)),
        ("1 trial", Budget(trials=1)),
        ("2h, 50trials,20usd", Budget(seconds=7200, usd=20, trials=50)),
    ],
)
def test_words(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["2", "h", "two hours", "0trials", "1.5trials", "-2h", "2h;3h"])
def test_what_is_no_budget_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"tune\.budget: '.*' is no budget; say --budget 2h"):
        parse_budget(text)


def test_a_thing_is_capped_once_and_something_has_to_be() -> None:
    with pytest.raises(ConfigError, match="caps seconds twice"):
        parse_budget("2h,30m")
    for nothing in (None, ""):
        with pytest.raises(ConfigError, match="has no end by itself"):
            parse_budget(nothing)


def test_the_first_cap_that_is_reached_ends_it() -> None:
    budget = Budget(seconds=100, usd=2, trials=5)
    assert not budget.is_spent(Spent(99, 1.9, 4))
    for spent in (Spent(100, 0, 0), Spent(0, 2, 0), Spent(0, 0, 5)):
        assert budget.is_spent(spent)


def test_seconds_that_are_left_by_the_clock_and_by_the_price_of_a_machine() -> None:
    assert Budget(trials=3).seconds_left(Spent(1e9, 1e9, 0), 1.0) is None
    assert Budget(seconds=100).seconds_left(Spent(40, 0, 0), 0.0) == 60
    assert Budget(seconds=100, usd=2).seconds_left(Spent(40, 1.5, 0), 0.01) == 50
    assert Budget(seconds=100).seconds_left(Spent(400, 0, 0), 0.0) == 0
    assert Budget(usd=2).seconds_left(Spent(0, 1, 0), 0.0) is None
