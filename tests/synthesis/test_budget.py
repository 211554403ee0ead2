"""The caps: reserved at the worst, counted over lives, never exceeded by what is in flight."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import BudgetConfig, TeacherConfig
from mwalimu.data.record import Message
from mwalimu.errors import BudgetReached, ConfigError
from mwalimu.synthesis.budget import Budget, Prices
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.index import Spend
from mwalimu.teachers.base import Request, Sampling, Usage

PRICED: dict[str, Any] = {
    "model": "m",
    "base_url": "http://localhost/v1",
    "usd_per_million_input": 2.0,
    "usd_per_million_output": 8.0,
    "usd_per_million_cached": 0.5,
}


def test_prices_are_exact_to_the_nano_dollar() -> None:
    teacher = TeacherConfig(**PRICED)
    # 600 fresh at 2, 400 cached at 0.5, 50 out at 8 dollars a million, in nano-dollars.
    assert Prices(teacher).actual(Usage(1000, 50, 400)) == Cost(
        1000, 50, 600 * 2000 + 400 * 500 + 50 * 8000
    )
    unknown = TeacherConfig(model="m", base_url="http://localhost/v1")
    assert Prices(unknown).actual(Usage(1000, 50)).nano_usd is None
    assert Prices(TeacherConfig(model="fake")).actual(Usage(1000, 50)).nano_usd == 0


@pytest.mark.parametrize("text", ["plain words", "日本語の文", "🙂" * 9, "a b" * 100, "\x00\x01"])
def test_the_worst_case_bounds_every_tokenizer(text: str) -> None:
    request = Request("m", (Message("user", text),), Sampling(max_tokens=77))
    worst = Prices(TeacherConfig(**PRICED)).worst_case(request)
    assert worst.prompt >= len(text.encode()) and worst.completion == 77
    assert worst.nano_usd == worst.prompt * 2000 + 77 * 8000


def test_what_is_in_flight_is_reserved_and_given_back() -> None:
    async def scenario() -> list[str]:
        budget = Budget(BudgetConfig(tokens=100), Spend())
        seen: list[str] = []

        async def one(name: str, paid: int) -> None:
            await budget.reserve(Cost(20, 20))
            seen.append(name)
            await asyncio.sleep(0.01)
            budget.settle(Cost(20, 20), Cost(paid, 0))

        await asyncio.gather(*(one(f"{i}", 10) for i in range(5)))
        assert budget.spent[1] == 50 and seen[:2] == ["0", "1"]
        await one("last", 45)
        with pytest.raises(BudgetReached, match=r"95 of 100 spent"):
            await one("too much", 1)
        return seen

    assert len(asyncio.run(scenario())) == 6


def test_a_batch_is_reserved_whole_and_never_waits_for_itself() -> None:
    async def scenario() -> None:
        budget = Budget(BudgetConfig(requests=5), Spend())
        batch = [Cost(1, 1)] * 3
        await budget.reserve(*batch)
        with pytest.raises(TimeoutError):  # the first batch may still turn out cheaper
            await asyncio.wait_for(budget.reserve(*batch), 0.01)
        for cost in batch:
            budget.settle(cost, cost)
        with pytest.raises(BudgetReached, match="3 of 5 spent"):
            await asyncio.wait_for(budget.reserve(*batch), 10)
        await budget.reserve(*batch[:2])

    asyncio.run(scenario())


def test_a_failure_gives_money_back_but_counts_as_a_request() -> None:
    async def scenario() -> None:
        budget = Budget(BudgetConfig(requests=2, tokens=100), Spend())
        for _ in range(2):
            await budget.reserve(Cost(50, 50))
            budget.settle(Cost(50, 50), None)
        with pytest.raises(BudgetReached, match=r"budget\.requests.*2 of 2"):
            await budget.reserve(Cost(1, 1))

    asyncio.run(scenario())


def test_earlier_lives_count_and_open_requests_at_their_worst() -> None:
    earlier = Spend(
        requests=3, answers=2, prompt=10, completion=10, nano_usd=400_000_000, open_requests=1,
        open_tokens=30, open_nano_usd=500_000_000,
    )  # fmt: skip
    budget = Budget(BudgetConfig(usd=1.0), earlier)
    assert budget.spent == [900_000_000, 50, 3]

    async def scenario() -> None:
        await budget.reserve(Cost(1, 1, 100_000_000))
        budget.settle(Cost(1, 1, 100_000_000), Cost(1, 1, 100_000_000))
        with pytest.raises(BudgetReached, match=r"\$1\.0000 of \$1\.0000"):
            await budget.reserve(Cost(1, 1, 1))

    asyncio.run(scenario())


def test_a_cap_in_dollars_needs_prices(tmp_path: Path) -> None:
    budget = Budget(BudgetConfig(usd=1.0), Spend())
    budget.require_prices([TeacherConfig(**PRICED), TeacherConfig(model="fake")])
    with pytest.raises(ConfigError, match="unknown"):
        budget.require_prices([TeacherConfig(model="m", base_url="http://localhost/v1")])
