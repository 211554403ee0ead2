import pytest

from mwalimu.buying.ledger import Paid
from mwalimu.config import BudgetConfig

PAID = Paid(
    usd=0.02,
    spent={"usd": 2.0, "tokens": 9000.0, "requests": 100},
    taken={"usd": 0.01, "tokens": 90.0, "requests": 1.0},
)


@pytest.mark.parametrize(
    ("budget", "rows"),
    [
        ({}, None),
        ({"requests": 130}, 30),
        ({"tokens": 9950}, 10),
        ({"usd": 2.5, "requests": 1000}, 50),
        ({"requests": 50}, 0),
    ],
)
def test_the_tightest_cap_says_how_many_rows_are_left(
    budget: dict[str, float], rows: int | None
) -> None:
    assert PAID.affordable(BudgetConfig.model_validate(budget)) == rows
