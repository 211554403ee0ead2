"""Contract clauses whose subject is what they oblige to, not what else they mention.

Most have a condition or an exception that is about another subject: "If the customer is late with a
payment, the supplier may end this agreement" is about termination. All of it is invented.
"""

from __future__ import annotations

import random

SYSTEM = (
    "Name the subject of this contract clause with one label: assignment, confidentiality, "
    "data_protection, governing_law, liability, payment, termination or warranty."
)
SIZES = {"train": 400, "labelled": 48, "validation": 60, "test": 240}

PARTIES = ("supplier", "customer", "licensee", "contractor", "buyer", "tenant")
SPANS = ("ten days", "30 days", "60 days", "three months", "one year", "two years")
SUMS = ("EUR 10,000", "EUR 50,000", "the fees of one year", "twice the yearly fee")
PLACES = ("Kenya", "Tanzania", "Ireland", "Singapore", "the seller's seat", "New York")

# What obliges. {p} and {q} are two parties, {t} a time, {s} a sum, {l} a law.
OBLIGES = {
    "assignment": (
        "the {p} may not transfer its rights to a third party without consent of the {q}",
        "rights and duties pass to a successor of the {p} only in writing",
        "the {p} may hand this agreement over to an affiliate within {t}",
    ),
    "confidentiality": (
        "the {p} keeps all information of the {q} secret for {t}",
        "neither party discloses what it has learned about the other",
        "the {p} returns all confidential papers within {t}",
    ),
    "data_protection": (
        "the {p} processes personal data on instructions of the {q} only",
        "the {p} reports a breach of personal data to the {q} within {t}",
        "personal data is erased {t} after its purpose has ended",
    ),
    "governing_law": (
        "this agreement is subject to the law of {l}",
        "the courts of {l} alone decide disputes",
        "disputes are settled by arbitration under the rules of {l}",
    ),
    "liability": (
        "the {p} is answerable for damage up to {s} only",
        "neither party answers for lost profit",
        "claims for damages against the {p} are limited to {s}",
    ),
    "payment": (
        "the {p} pays each invoice within {t}",
        "the {p} owes interest on sums that are late by {t}",
        "prices rise by an index once in {t}",
    ),
    "termination": (
        "either party may end this agreement with notice of {t}",
        "the {p} may withdraw if a breach is not cured within {t}",
        "this agreement ends by itself after {t}",
    ),
    "warranty": (
        "the {p} warrants that the goods are free of defects for {t}",
        "the {p} repairs or replaces defective parts within {t}",
        "the goods conform to the agreed description on delivery",
    ),
}
LABELS = dict.fromkeys(OBLIGES, 1)
# What is only mentioned, before or behind the obligation.
MENTIONS = {
    "assignment": ("a transfer of rights", "an assignment to an affiliate"),
    "confidentiality": ("the duty of secrecy", "a disclosure of secrets"),
    "data_protection": ("the processing of personal data", "a breach of personal data"),
    "governing_law": ("the choice of law", "a pending arbitration"),
    "liability": ("the limit of damages", "a claim for damages"),
    "payment": ("a late payment", "the duty to pay invoices"),
    "termination": ("the end of this agreement", "a notice of termination"),
    "warranty": ("a defect of the goods", "the repair of defective parts"),
}
BEFORE = (
    "After {m}, {o}.",
    "In case of {m}, {o}.",
    "Notwithstanding {m}, {o}.",
    "Without regard to {m}, {o}.",
)
BEHIND = (
    "{o}; {m} does not change this.",
    "{o}, {m} included.",
    "{o}, unless {m} stands against it.",
)


def draw(dice: random.Random) -> tuple[str, str, str]:
    """(core, clause, label)."""
    subject = dice.choice(sorted(OBLIGES))
    at = dice.randrange(3)
    one, other = dice.sample(PARTIES, 2)
    span, limit, law = dice.choice(SPANS), dice.choice(SUMS), dice.choice(PLACES)
    duty = OBLIGES[subject][at].format(p=one, q=other, t=span, s=limit, l=law)
    beside = dice.choice([name for name in sorted(MENTIONS) if name != subject])
    mention = dice.choice(MENTIONS[beside])
    shape = dice.choice(("{o}.", *BEFORE, *BEHIND))
    clause = shape.format(o=duty, m=mention)
    core = f"{subject} {at} {shape} {mention}" if "{m}" in shape else duty
    return core, clause[0].upper() + clause[1:], subject
