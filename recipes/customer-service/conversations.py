"""Conversations of the support desk: up to five exchanges, the last answer left to be given.

The world, its policy and its split are the quickstart's; the conversations are longer. A customer
says who they are, gives the order, hears the decision, and asks on: about another case of theirs,
another wish, what was noted. What is asked late may need what was said first.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from mwalimu.quickstart.world import (
    RETURN_DAYS,
    WISHES,
    Side,
    Split,
    Ticket,
    draw_product,
    draw_ticket,
    side_of,
)

VERSION = 1
"""Part of every draw: raise it with any change of wording."""

EXCHANGES = (1, 2, 3, 4, 5)
SHARES = (5, 25, 30, 25, 15)
"""How many conversations of a hundred end after so many exchanges."""

Exchange = tuple[str, str]
"""What the customer says, and the desk's gold answer."""


@dataclass(slots=True)
class Case:
    """One thing that a customer wants, and how long ago it was bought."""

    ticket: Ticket
    age: int

    @property
    def window(self) -> int:
        return RETURN_DAYS[self.ticket.noun]


def generate_conversations(split: Split, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """`count` rows in chat form, the last message the gold answer; no prompt occurs twice.

    Products of a test row are in no row of another side (`quickstart.world`).
    """
    rng = random.Random(f"customer-service {VERSION} {split} {seed}")
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    while len(rows) < count:
        length = rng.choices(EXCHANGES, SHARES)[0]
        turns = [
            turn for exchange in _conversation(rng, side_of(split), length) for turn in exchange
        ]
        prompt = "\n".join(turns[:-1])
        if prompt not in seen:
            seen.add(prompt)
            name = f"{split}-{len(rows):05d}"
            rows.append({"id": name, "task": "conversation", "messages": _chat(turns)})
    return rows


def _chat(turns: list[str]) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]


def _conversation(rng: random.Random, side: Side, length: int) -> list[Exchange]:
    return [exchange for exchange, _ in zip(_exchanges(rng, side), range(length), strict=False)]


def _exchanges(rng: random.Random, side: Side) -> Iterator[Exchange]:
    """Greeting, decision, then three of the follow-ups, each kind at most once."""
    cases = [_draw_case(rng, draw_ticket(rng, side))]
    yield _greeting(rng, cases[0].ticket)
    yield _order(rng, cases[0])
    for follow_up in rng.sample(FOLLOW_UPS, 3):
        yield follow_up(rng, side, cases)


def _draw_case(rng: random.Random, ticket: Ticket) -> Case:
    """Bought some days inside the policy's window, or some days outside."""
    window = RETURN_DAYS[ticket.noun]
    return Case(ticket, max(1, window + rng.choice((-1, 1)) * rng.randint(1, 13)))


def _greeting(rng: random.Random, ticket: Ticket) -> Exchange:
    opening = rng.choice(
        (
            f"Hello, I am {ticket.name}. My {ticket.product} is {ticket.fault}.",
            f"Good day, {ticket.name} here. The {ticket.product} I bought is {ticket.fault}.",
        )
    )
    return opening, f"I am sorry, {ticket.name}. What is the order number?"


def _order(rng: random.Random, case: Case) -> Exchange:
    order, wish = case.ticket.order, case.ticket.wish
    told = rng.choice(
        (
            f"It is {order}. I bought it {case.age} days ago and want a {wish}.",
            f"Order {order}, bought {case.age} days ago. Can I have a {wish}?",
        )
    )
    return told, _decision(case)


def _decision(case: Case) -> str:
    """The policy first: what is decided can then be read off."""
    return f"A {case.ticket.noun} can come back for {case.window} days. {_granted(case)}"


def _granted(case: Case) -> str:
    order, window = case.ticket.order, case.window
    if case.age <= window:
        return f"Order {order} is within {window} days: you get a {case.ticket.wish}."
    return f"Order {order} is past {window} days: we offer a repair."


def _policy(rng: random.Random, side: Side, cases: list[Case]) -> Exchange:
    """The window of a product that was not spoken of."""
    adjective, noun = draw_product(rng, side)
    answer = f"A {noun} can come back for {RETURN_DAYS[noun]} days."
    return f"And how long can I return a {adjective} {noun}?", answer


def _another_case(rng: random.Random, side: Side, cases: list[Case]) -> Exchange:
    """A second product of the same customer, decided like the first."""
    while (ticket := draw_ticket(rng, side)).product == cases[0].ticket.product:
        pass
    case = _draw_case(rng, replace(ticket, name=cases[0].ticket.name))
    cases.append(case)
    told = (
        f"My {ticket.product} is {ticket.fault} too. It is order {ticket.order}, bought "
        f"{case.age} days ago. Can I have a {ticket.wish}?"
    )
    return told, _decision(case)


def _other_wish(rng: random.Random, side: Side, cases: list[Case]) -> Exchange:
    """The customer thinks again about one of the cases; its decision stands or falls as before."""
    case = rng.choice(cases)
    wish = rng.choice([w for w in WISHES if w != case.ticket.wish])
    case.ticket = replace(case.ticket, wish=wish)
    return f"For the {case.ticket.product} I want a {wish}.", _granted(case)


def _noted_order(rng: random.Random, side: Side, cases: list[Case]) -> Exchange:
    ticket = rng.choice(cases).ticket
    asked = f"Thank you. Which order did you note for the {ticket.product}?"
    return asked, f"I noted order {ticket.order}, a {ticket.product}."


def _noted_fault(rng: random.Random, side: Side, cases: list[Case]) -> Exchange:
    ticket = rng.choice(cases).ticket
    asked = f"What is wrong with the {ticket.product}?"
    return asked, f"I noted that the {ticket.noun} is {ticket.fault}."


def _summary(rng: random.Random, side: Side, cases: list[Case]) -> Exchange:
    ticket = rng.choice(cases).ticket
    article = "an" if ticket.fault.startswith("i") else "a"
    wish = f"{ticket.name} wants a {ticket.wish} for {article} {ticket.fault} {ticket.product}"
    return f"Summarize the {ticket.product} for me.", f"{wish}, order {ticket.order}."


FollowUp = Callable[[random.Random, Side, list[Case]], Exchange]
FOLLOW_UPS: tuple[FollowUp, ...] = (
    _policy,
    _another_case,
    _other_wish,
    _noted_order,
    _noted_fault,
    _summary,
)
