"""Notes on a company, and the one risk in them: which, how high, and why, as JSON.

Every note holds one figure that decides, other figures that do not, and sometimes something that
takes a step off the level. The levels are a rule of ours, stated in README.md.
"""

from __future__ import annotations

import json
import random
from typing import NamedTuple

SYSTEM = (
    "Read the note. Answer in JSON with risk (liquidity, debt, customers or currency), level "
    "(low, medium or high) and reason, one sentence."
)
TASK = "risk_note"
SIZES = {"train": 400, "labelled": 48, "validation": 60, "test": 240}
LEVELS = ("low", "medium", "high")
FIGURES = range(10, 100)
SMALL = {"lessons": 6000, "lesson_epochs": 4, "prompts": 2400}


class Risk(NamedTuple):
    """`says` states the figure; from `medium` on, and from `high` on, it is so. With `falling` a
    small figure is the bad one. `eased` takes a step off.
    """

    says: str
    medium: int
    high: int
    falling: bool
    eased: str
    reasons: tuple[str, str, str]


RISKS = {
    "liquidity": Risk(
        "Cash covers {n} days of costs.",
        60,
        30,
        True,
        "An unused credit line stands ready.",
        ("Cash lasts for a season.", "Cash lasts for weeks only.", "Cash lasts for days only."),
    ),
    "debt": Risk(
        "Debt is {n} % of a year's sales.",
        40,
        70,
        False,
        "The owners have signed for the debt.",
        ("Debt is small beside sales.", "Debt weighs on sales.", "Debt is out of proportion."),
    ),
    "customers": Risk(
        "The largest customer buys {n} % of the output.",
        30,
        50,
        False,
        "That customer is bound for five years.",
        ("No customer weighs much.", "One customer weighs a lot.", "All hangs on one customer."),
    ),
    "currency": Risk(
        "Of all costs {n} % are in foreign money.",
        30,
        60,
        False,
        "The exchange rate is hedged.",
        ("Few costs move with rates.", "Costs move with rates.", "Rates decide about the costs."),
    ),
}
FIRMS = ("Baraka Mills", "Tumaini Foods", "Lakeside Print", "Jua Power", "Mto Tools", "Nyota Shoes")
NEUTRAL = (
    "Sales rose by {n} %.",
    "It has {n} people.",
    "The warehouse is {n} % full.",
    "Orders came from {n} towns.",
    "Prices went up by {n} %.",
    "A new site opens in {n} weeks.",
)


def draw(dice: random.Random) -> tuple[str, str, str]:
    """(core, note, answer)."""
    name = dice.choice(sorted(RISKS))
    risk = RISKS[name]
    # As many notes of each level, whatever the share of its figures.
    wanted = dice.choice(LEVELS)
    figure = dice.choice([n for n in FIGURES if LEVELS[_step(risk, n)] == wanted])
    eased = dice.random() < 0.3
    step = max(0, _step(risk, figure) - eased)
    facts = [risk.says.format(n=figure)] + ([risk.eased] if eased else [])
    noise = [text.format(n=dice.choice(FIGURES)) for text in dice.sample(NEUTRAL, 2)]
    sentences = [noise[0], *facts, noise[1]] if dice.random() < 0.5 else [*noise, *facts]
    note = f"{dice.choice(FIRMS)}: {' '.join(sentences)}"
    answer = {"risk": name, "level": LEVELS[step], "reason": risk.reasons[step]}
    return f"{name} {figure} {eased}", note, json.dumps(answer)


def _step(risk: Risk, figure: int) -> int:
    if risk.falling:
        return (figure < risk.medium) + (figure < risk.high)
    return (figure >= risk.medium) + (figure >= risk.high)
