"""The support-desk world: a shop, its products, customers and policies, and who may be seen when.

Everything is drawn from a seed. A *product* is an adjective and a noun ("blue lamp"); every product
belongs to one side of the split, so that a test row speaks of things that no training row has
named together. The same holds for the numbers of a sum.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Literal

WORLD_VERSION = 1
"""Part of every draw: raise it with any change of wording or vocabulary."""

Split = Literal["teacher", "train", "labelled", "validation", "test"]
Side = Literal["train", "validation", "test"]

NAMES = (
    "Amina", "Baraka", "Chen", "Dalia", "Emeka", "Farah", "Goran", "Hana",
    "Ivan", "Juma", "Kofi", "Lena", "Omar", "Petra", "Rosa", "Zuri",
)  # fmt: skip
ADJECTIVES = (
    "red", "blue", "green", "black", "white", "grey", "pink", "brown",
    "wooden", "steel", "glass", "silver", "small", "large", "round", "plain",
)  # fmt: skip
RETURN_DAYS = {
    "lamp": 14, "kettle": 14, "toaster": 14, "radio": 14,
    "mug": 21, "plate": 21, "bowl": 21, "vase": 21,
    "chair": 30, "table": 30, "mirror": 30, "sofa": 30,
    "tent": 45, "ball": 45, "racket": 45, "helmet": 45,
    "jacket": 60, "hat": 60, "bag": 60, "belt": 60,
}  # fmt: skip
"""The shop's policy, in days; nowhere written in a prompt, so a model has to know it."""
NOUNS = tuple(RETURN_DAYS)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WEEKEND = ("Saturday", "Sunday")
FAULTS = ("broken", "scratched", "bent", "dirty", "incomplete", "noisy")
DAMAGE = ("broken", "scratched", "bent")
WISHES = ("refund", "replacement", "repair", "voucher")
PAYMENTS = ("card", "cash", "transfer")
CHATTER = (
    "The driver was friendly.",
    "The box was heavy.",
    "The shop was busy.",
    "It was a present.",
)


@dataclass(frozen=True, slots=True)
class Ticket:
    """The facts of one case; a task decides which of them are told."""

    name: str
    adjective: str
    noun: str
    order: str
    bought: str
    arrived: str
    fault: str
    wish: str
    payment: str

    @property
    def product(self) -> str:
        return f"{self.adjective} {self.noun}"


def side_of(split: Split) -> Side:
    """The teacher, the prompts and the labelled rows share a side; validation and test do not."""
    return split if split in ("validation", "test") else "train"


def on_side(key: str, side: Side) -> bool:
    """Whether a product, or the numbers of a sum, may be seen on this side."""
    bucket = hashlib.sha256(f"{WORLD_VERSION}:{key}".encode()).digest()[0]
    found: Side = "train" if bucket < 180 else "validation" if bucket < 205 else "test"
    return found == side


def draw_product(rng: random.Random, side: Side) -> tuple[str, str]:
    """(adjective, noun) of this side."""
    while True:
        adjective, noun = rng.choice(ADJECTIVES), rng.choice(NOUNS)
        if on_side(f"{adjective} {noun}", side):
            return adjective, noun


def draw_ticket(rng: random.Random, side: Side) -> Ticket:
    adjective, noun = draw_product(rng, side)
    bought, arrived = rng.sample(DAYS, 2)
    return Ticket(
        name=rng.choice(NAMES),
        adjective=adjective,
        noun=noun,
        order=str(rng.randint(100, 999)),
        bought=bought,
        arrived=arrived,
        fault=rng.choice(FAULTS),
        wish=rng.choice(WISHES),
        payment=rng.choice(PAYMENTS),
    )
