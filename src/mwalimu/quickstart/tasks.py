"""The five task types of the support desk: each maker draws one row, its gold answer last.

A row is a list of turns, user first; the wording varies, the gold answer follows from the facts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from mwalimu.quickstart.world import (
    CHATTER,
    DAMAGE,
    DAYS,
    FAULTS,
    NAMES,
    PAYMENTS,
    RETURN_DAYS,
    WEEKEND,
    WISHES,
    Side,
    Ticket,
    draw_product,
    draw_ticket,
    on_side,
)

Turns = list[str]
FACTS = ("order", "arrived", "fault", "wish", "payment")
CLAIMED = ("arrived", "fault", "wish", "payment")


def nli(rng: random.Random, side: Side) -> Turns:
    """Does the ticket entail the claim, contradict it, or leave it open?"""
    ticket = draw_ticket(rng, side)
    told = rng.sample(FACTS, 3)
    label = rng.choice(("entailment", "contradiction", "neutral"))
    if label == "neutral":
        fact = rng.choice([f for f in CLAIMED if f not in told])
    else:
        fact = rng.choice(["product", *(f for f in CLAIMED if f in told)])
    claim = _claim(rng, ticket, fact, side, true=label != "contradiction")
    return [f"{story(rng, ticket, told)} Claim: {claim} Entailed?", label]


def _claim(rng: random.Random, ticket: Ticket, fact: str, side: Side, *, true: bool) -> str:
    if fact == "product":
        product = ticket.product if true else _other_product(rng, ticket, side)
        return f"{ticket.name} bought a {product}."
    if fact == "arrived":
        return _arrival_claim(rng, ticket, true=true)
    if fact == "fault":
        return _fault_claim(rng, ticket, true=true)
    if fact == "wish":
        wish = ticket.wish if true else _not(rng, WISHES, ticket.wish)
        said = {"refund": "the money back", "replacement": "a new one"}
        return f"{ticket.name} wants {said.get(wish, f'a {wish}')}."
    payment = ticket.payment if true else _not(rng, PAYMENTS, ticket.payment)
    return f"The {ticket.noun} was paid by {payment}."


def _arrival_claim(rng: random.Random, ticket: Ticket, *, true: bool) -> str:
    if rng.random() < 0.5:
        weekend = (ticket.arrived in WEEKEND) == true
        return f"The parcel came {'at the weekend' if weekend else 'on a working day'}."
    day = ticket.arrived if true else _not(rng, DAYS, ticket.arrived)
    return f"The parcel came on {day}."


def _fault_claim(rng: random.Random, ticket: Ticket, *, true: bool) -> str:
    if rng.random() < 0.5:
        damaged = (ticket.fault in DAMAGE) == true
        return f"The {ticket.noun} is {'damaged' if damaged else 'not damaged'}."
    fault = ticket.fault if true else _not(rng, FAULTS, ticket.fault)
    return f"The {ticket.noun} is {fault}."


def question_answering(rng: random.Random, side: Side) -> Turns:
    """A span of the ticket; a fifth of the payments asked for are not in it."""
    ticket = draw_ticket(rng, side)
    told = rng.sample(FACTS, rng.choice((2, 3)))
    asked = rng.choice([*told, "bought", "product", "payment"])
    text = story(rng, ticket, told, chatter=True)
    return [f"{text} {_question(rng, ticket, asked)}", _span(ticket, asked, told)]


def _question(rng: random.Random, ticket: Ticket, asked: str) -> str:
    forms = {
        "order": ("What is the order number?", "Which order is it?"),
        "arrived": ("On which day did the parcel come?", "When did it arrive?"),
        "bought": (f"When did {ticket.name} buy it?", "On which day was it bought?"),
        "fault": (f"What is wrong with the {ticket.noun}?", "What is the fault?"),
        "wish": (f"What does {ticket.name} want?", "What is asked for?"),
        "payment": (f"How did {ticket.name} pay?", "How was it paid?"),
        "product": (f"What did {ticket.name} buy?", "Which product is it?"),
    }
    return rng.choice(forms[asked])


def _span(ticket: Ticket, asked: str, told: list[str]) -> str:
    if asked == "payment" and asked not in told:
        return "not stated"
    if asked == "wish":
        return f"a {ticket.wish}"
    return str(getattr(ticket, asked))


def conversation(rng: random.Random, side: Side) -> Turns:
    """Two or three exchanges; the last answer needs the shop's policy and the turns before."""
    ticket = draw_ticket(rng, side)
    window = RETURN_DAYS[ticket.noun]
    age = max(1, window + rng.choice((-1, 1)) * rng.randint(1, 13))
    turns = [
        rng.choice(
            (
                f"Hello, I am {ticket.name}. My {ticket.product} is {ticket.fault}.",
                f"Good day, {ticket.name} here. The {ticket.product} I bought is {ticket.fault}.",
            )
        ),
        f"I am sorry, {ticket.name}. What is the order number?",
        rng.choice(
            (
                f"It is {ticket.order}. I bought it {age} days ago and want a {ticket.wish}.",
                f"Order {ticket.order}, bought {age} days ago. Can I have a {ticket.wish}?",
            )
        ),
        _decision(ticket, age, window),
    ]
    return turns + _follow_up(rng, ticket, side) if rng.random() < 0.4 else turns


def _decision(ticket: Ticket, age: int, window: int) -> str:
    """The policy first: what is decided can then be read off."""
    policy = f"A {ticket.noun} can come back for {window} days."
    if age <= window:
        return f"{policy} Order {ticket.order} is within {window} days: you get a {ticket.wish}."
    return f"{policy} Order {ticket.order} is past {window} days: we offer a repair."


def _follow_up(rng: random.Random, ticket: Ticket, side: Side) -> Turns:
    adjective, noun = draw_product(rng, side)
    if rng.random() < 0.5:
        answer = f"A {noun} can come back for {RETURN_DAYS[noun]} days."
        return [f"And how long can I return a {adjective} {noun}?", answer]
    answer = f"I noted order {ticket.order}, a {ticket.product}."
    return ["Thank you. Which order did you note?", answer]


def math(rng: random.Random, side: Side) -> Turns:
    """Totals and refunds, with steps; the numbers of a sum belong to one side too."""
    kind = rng.choice(tuple(SUMS))
    count, price, more, other = draw_sum(rng, side, (kind,))
    item, second = (" ".join(draw_product(rng, side)) + "s" for _ in range(2))
    return SUMS[kind](rng.choice(NAMES), item, second, count, price, more, other)


def draw_sum(rng: random.Random, side: Side, kinds: Iterable[str]) -> tuple[int, int, int, int]:
    """Numbers (count, price, more, other) that may be seen on this side in all of `kinds`."""
    while True:
        count, price = rng.randint(2, 6), rng.randint(2, 12)
        more, other = rng.randint(2, 4), rng.randint(2, 9)
        if other <= count * price and all(
            on_side(f"{kind} {count} {price} {more} {other if kind != 'return' else 0}", side)
            for kind in kinds
        ):
            return count, price, more, other


def _total(
    name: str, item: str, second: str, count: int, price: int, more: int, other: int
) -> Turns:
    a, b = count * price, more * other
    return [
        f"{name} buys {count} {item} at {price} dollars each and {more} {second} at {other} "
        "dollars each. What is the total?",
        f"{count} x {price} = {a}. {more} x {other} = {b}. {a} + {b} = {a + b}. Answer: {a + b}",
    ]


def _refund(name: str, item: str, _: str, count: int, price: int, more: int, other: int) -> Turns:
    a = count * price
    return [
        f"{name} sends {count} of {count + more} {item} back. Each was {price} dollars and the "
        f"fee is {other} dollars. What is the refund?",
        f"{count} x {price} = {a}. {a} - {other} = {a - other}. Answer: {a - other}",
    ]


def _return(name: str, item: str, _: str, count: int, price: int, more: int, __: int) -> Turns:
    a = count * price
    return [
        f"{name} keeps {more} {item} and returns {count}. The price was {price} dollars each. "
        "How much money comes back?",
        f"{count} x {price} = {a}. Answer: {a}",
    ]


SUMS: dict[str, Callable[[str, str, str, int, int, int, int], Turns]] = {
    "total": _total,
    "refund": _refund,
    "return": _return,
}


def summarization(rng: random.Random, side: Side) -> Turns:
    """One sentence with who wants what and why; the chatter is left out."""
    ticket = draw_ticket(rng, side)
    told = ["order", "fault", "wish", rng.choice(("arrived", "payment"))]
    text = story(rng, ticket, told, chatter=True)
    article = "an" if ticket.fault.startswith("i") else "a"
    wish = f"{ticket.name} wants a {ticket.wish} for {article} {ticket.fault} {ticket.product}"
    return [f"Summarize: {text}", f"{wish}, order {ticket.order}."]


def story(rng: random.Random, ticket: Ticket, told: list[str], *, chatter: bool = False) -> str:
    """The purchase first, then the facts that are told, in any order."""
    opening = rng.choice(
        (
            f"{ticket.name} bought a {ticket.product} on {ticket.bought}.",
            f"On {ticket.bought} {ticket.name} ordered a {ticket.product}.",
        )
    )
    rest = [_sentence(rng, ticket, fact) for fact in told]
    if chatter:
        rest.append(rng.choice(CHATTER))
    rng.shuffle(rest)
    return " ".join([opening, *rest])


def _sentence(rng: random.Random, ticket: Ticket, fact: str) -> str:
    forms = {
        "order": (f"The order number is {ticket.order}.", f"It is order {ticket.order}."),
        "arrived": (f"It arrived on {ticket.arrived}.", f"The parcel came on {ticket.arrived}."),
        "fault": (f"The {ticket.noun} is {ticket.fault}.", f"It is {ticket.fault}."),
        "wish": (f"{ticket.name} asks for a {ticket.wish}.", f"The wish is a {ticket.wish}."),
        "payment": (f"It was paid by {ticket.payment}.", f"The payment was by {ticket.payment}."),
    }
    return rng.choice(forms[fact])


def _not(rng: random.Random, values: tuple[str, ...], value: str) -> str:
    return rng.choice([v for v in values if v != value])


def _other_product(rng: random.Random, ticket: Ticket, side: Side) -> str:
    while (product := " ".join(draw_product(rng, side))) == ticket.product:
        pass
    return product


MAKERS: dict[str, Callable[[random.Random, Side], Turns]] = {
    "nli": nli,
    "conversation": conversation,
    "qa": question_answering,
    "math": math,
    "summarization": summarization,
}
