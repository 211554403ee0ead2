"""Plain text of the shop, without a policy or a customer's question: what a base model has read.

A user's student is a pretrained model, and so is the quickstart's. It has read case files, in which
the same facts stand in several forms, receipts, and exercises in reading and comparing; all from
the side of the training rows, and none in the words of the five tasks.
"""

from __future__ import annotations

import random
from typing import Any

from mwalimu.quickstart.tasks import FACTS, SUMS, draw_sum, story
from mwalimu.quickstart.world import (
    DAMAGE,
    DAYS,
    FAULTS,
    PAYMENTS,
    WEEKEND,
    WISHES,
    WORLD_VERSION,
    Ticket,
    draw_ticket,
)

OPENING = "Write a page of the shop's records."


def generate_pages(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """`count` rows in chat form whose answer is a page: pretraining in the shape of fine-tuning."""
    rng = random.Random(f"support-desk {WORLD_VERSION} pages {seed}")
    return [_row(index, _receipt(rng) if index % 5 == 0 else _case(rng)) for index in range(count)]


def generate_exercises(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """`count` rows whose answer is a case with its facts asked for and checked, or comparisons."""
    rng = random.Random(f"support-desk {WORLD_VERSION} exercises {seed}")
    makers = (_checks, _lookups, _checks, _comparisons)
    return [_row(index, makers[index % len(makers)](rng)) for index in range(count)]


def _row(index: int, page: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": OPENING}, {"role": "assistant", "content": page}]
    return {"id": f"page-{index:05d}", "task": "generic", "messages": turns}


def _case(rng: random.Random) -> str:
    """The same case told a few times, now and then word for word."""
    ticket = draw_ticket(rng, "train")
    views = [rng.choice((_told, _card, _note))(rng, ticket) for _ in range(rng.choice((3, 4)))]
    if rng.random() < 0.3:
        views = [views[0], f"Copy: {views[0]}", *views[1:2]]
    return " ".join(views)


def _told(rng: random.Random, ticket: Ticket) -> str:
    return story(rng, ticket, rng.sample(FACTS, rng.choice((3, 4, 5))))


def _card(rng: random.Random, ticket: Ticket) -> str:
    fields = ["name", "product", "bought", *FACTS]
    chosen = rng.sample(fields, rng.choice((3, 4, 5)))
    return "Card: " + ", ".join(f"{field} {getattr(ticket, field)}" for field in chosen) + "."


def _note(rng: random.Random, ticket: Ticket) -> str:
    return rng.choice(
        (
            f"Note: {ticket.name}, a {ticket.fault} {ticket.product}, a {ticket.wish}.",
            f"Note: order {ticket.order}, {ticket.product}, {ticket.name} wants a {ticket.wish}.",
            f"Note: the {ticket.noun} of {ticket.name} is {ticket.fault}, order {ticket.order}.",
            f"Note: a {ticket.product}, order {ticket.order}, came on {ticket.arrived}.",
        )
    )


def _receipt(rng: random.Random) -> str:
    """Products, then their sum or difference; the numbers are of the training side."""
    return "Receipt: " + " ".join(_line(*draw_sum(rng, "train", SUMS), rng) for _ in range(3))


def _line(count: int, price: int, more: int, other: int, rng: random.Random) -> str:
    a, b = count * price, more * other
    return rng.choice(
        (
            f"{count} x {price} = {a}. {more} x {other} = {b}. {a} + {b} = {a + b}.",
            f"{count} x {price} = {a}. {a} - {other} = {a - other}.",
        )
    )


def _checks(rng: random.Random) -> str:
    """A story, then statements about it: yes, no, or open where it does not say."""
    ticket = draw_ticket(rng, "train")
    told = rng.sample(FACTS, 3)
    marks = []
    for _ in range(4):
        field = rng.choice([*VALUES, "weekend", "damaged"])
        marks.append(_mark(rng, ticket, told, field))
    return f"{story(rng, ticket, told)} Check: {', '.join(marks)}."


def _mark(rng: random.Random, ticket: Ticket, told: list[str], field: str) -> str:
    source = {"weekend": "arrived", "damaged": "fault"}.get(field, field)
    if field in ("weekend", "damaged"):
        claim, true = field, getattr(ticket, source) in (*WEEKEND, *DAMAGE)
    else:
        true = rng.random() < 0.5
        actual = getattr(ticket, field)
        value = actual if true else rng.choice([v for v in VALUES[field] if v != actual])
        claim = f"{field} {value}"
    if source not in told:
        return f"{claim} open"
    return f"{claim} {'yes' if true else 'no'}"


def _lookups(rng: random.Random) -> str:
    """A story with an aside, then its facts by name."""
    ticket = draw_ticket(rng, "train")
    told = rng.sample(FACTS, 3)
    asked = rng.sample([*FACTS, "name", "product", "bought"], 5)
    stated = {*told, "name", "product", "bought"}
    found = (f"{f} {getattr(ticket, f) if f in stated else 'open'}" for f in asked)
    return f"{story(rng, ticket, told, chatter=True)} Look up: {', '.join(found)}."


def _comparisons(rng: random.Random) -> str:
    lines = []
    for _ in range(8):
        a = rng.randint(1, 75)
        b = max(1, a + rng.choice((-1, 1)) * rng.randint(0, 13))
        lines.append(f"{a} {'<' if a < b else '>' if a > b else '='} {b}.")
    return "Compare: " + " ".join(lines)


VALUES = {"arrived": DAYS, "fault": FAULTS, "wish": WISHES, "payment": PAYMENTS}
