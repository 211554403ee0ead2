"""One budget, shared out."""

from __future__ import annotations

import pytest

from mwalimu.auto.shares import Shares, Used
from mwalimu.config import AutoConfig, BudgetConfig
from mwalimu.errors import ConfigError


def shares(budget: str | None, *, price: float | None = None, **more: float) -> Shares:
    return Shares(AutoConfig(budget=budget, **more), price)


def test_the_teacher_may_take_its_share_and_no_more_than_its_own_cap() -> None:
    assert shares("2h,20usd").of_buying(BudgetConfig()).usd == 10
    assert shares("20usd", buying=0.25).of_buying(BudgetConfig(usd=40)).usd == 5
    assert shares("20usd").of_buying(BudgetConfig(usd=3, requests=7)).model_dump() == {
        "usd": 3,
        "tokens": None,
        "requests": 7,
    }
    assert shares("2h").of_buying(BudgetConfig(tokens=5)) == BudgetConfig(tokens=5)


def test_a_round_begins_where_one_like_the_last_would_end_in_time() -> None:
    hour = shares("1h")
    assert hour.why_no_round(Used(1000, 0), 700) == ""
    assert "within the 30.0 minutes" in hour.why_no_round(Used(1000, 0), 801)
    assert shares("20usd").why_no_round(Used(1e9, 0), 1e9) == ""


def test_the_search_has_its_share_of_what_is_left_of_each() -> None:
    used = Used(1000, 4)
    assert shares("1h").of_search(used) == "1950.000s"
    assert shares("1h,5trials").of_search(used) == "1950.000s,5trials"
    assert shares("1h", tuning=0.1).of_search(used) == "260.000s"
    # Of $20 the teacher took 4 and the machine 1000 s at $7.20 an hour, which is 2.
    assert shares("20usd", price=7.2).of_search(used) == "10.500000usd"
    assert shares("5trials").of_search(used) == "5trials"


@pytest.mark.parametrize("budget", [None, "20usd", "900s", "1000s,5trials"])
def test_what_would_not_end_or_is_used_up_gives_no_search(budget: str | None) -> None:
    assert shares(budget).of_search(Used(1000, 4)) == ""


def test_dollars_that_are_used_up_end_it_too() -> None:
    assert shares("1h,5usd", price=7.2).of_search(Used(1000, 4)) == ""


def test_words_that_are_no_budget_are_told() -> None:
    with pytest.raises(ConfigError, match="'soon' is no budget"):
        shares("soon").of_buying(BudgetConfig())
