"""Notes of a nurse line, and how soon somebody has to look at the caller.

The rule is ours, made up for exercise, and stated in README.md: it is no medical protocol. Contact
data is invented, and out of the notes before they are rows (`mask`), as your own has to be.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from mwalimu.data.privacy import mask

SYSTEM = (
    "Sort this note of a nurse line. Answer with one label: emergency, urgent, routine or "
    "self_care."
)
SIZES = {"train": 400, "labelled": 48, "validation": 60, "test": 240}
LEVELS = ("self_care", "routine", "urgent", "emergency")
LABELS = dict.fromkeys(LEVELS, 1)

COMPLAINTS = {
    "a cough": 0,
    "a sore throat": 0,
    "a rash": 0,
    "a twisted ankle": 0,
    "a cut on the hand": 0,
    "a runny nose": 0,
    "belly pain": 1,
    "back pain": 1,
    "a headache": 1,
    "vomiting": 1,
    "a fever": 1,
    "dizziness": 1,
}
# Present, an alarm is an emergency whatever the complaint; denied, it says nothing.
ALARMS = (
    "short of breath", "chest pain", "a stiff neck", "fainted once", "speech slurred",
    "one arm weak", "blood in the stool", "lips turned blue",
)  # fmt: skip
COURSES = {"getting worse": 1, "quickly worse": 1, "getting better": 0, "mild": 0, "as before": 0}
SHORT = ("since this morning", "since yesterday", "for two days", "for a few hours")
LONG = ("for three weeks", "for a month", "for half a year")
SMALL_OR_OLD = ("8 months old", "14 months old", "78 years old", "84 years old", "91 years old")
OTHERS = ("9 years old", "17 years old", "26 years old", "35 years old", "44 years old",
          "58 years old", "63 years old")  # fmt: skip
OPENERS = ("Caller", "Patient", "Parent calls for a patient", "Neighbour calls for a patient")
CONTACTS = (
    "Call back {phone}.",
    "Reach at {phone} after six.",
    "Mail {mail}.",
    "No number left.",
    "{phone}, or {mail}.",
)
NAMES = ("asha", "juma", "neema", "kito", "zuri", "omari")


def draw(dice: random.Random) -> tuple[str, str, str]:
    """(core, note without contact data, label)."""
    return raw_note(dice, lambda contact: mask(contact)[0])


def raw_note(
    dice: random.Random, shown: Callable[[str], str] = lambda contact: contact
) -> tuple[str, str, str]:
    """The same with the contact data that a real note would hold; all of it invented."""
    complaint, course = dice.choice(sorted(COMPLAINTS)), dice.choice(sorted(COURSES))
    lasting, frail, alarming = dice.random() < 0.3, dice.random() < 0.3, dice.random() < 0.25
    since = dice.choice(LONG if lasting else SHORT)
    age = dice.choice(SMALL_OR_OLD if frail else OTHERS)
    first, second = dice.sample(ALARMS, 2)
    flags = dice.choice((f"Denies: {first}.", f"No sign of: {first}, {second}.", ""))
    if alarming:
        flags = dice.choice((f"Also: {first}.", f"Denies: {second}. Also: {first}."))
    level = level_of(complaint, course, lasting=lasting, frail=frail, alarming=alarming)
    said = f"{dice.choice(OPENERS)}, {age}, has {complaint} {since}, {course}."
    note = " ".join(filter(None, (said, flags, shown(_contact(dice)))))
    core = f"{complaint} {course} {since} {frail} {flags if alarming else bool(flags)}"
    return core, note, LEVELS[level]


def level_of(complaint: str, course: str, *, lasting: bool, frail: bool, alarming: bool) -> int:
    """The made-up rule: a place in `LEVELS`."""
    if alarming:
        return 3
    level = COMPLAINTS[complaint] + COURSES[course] + frail
    return min(2, max(level, 1 if lasting else 0))


def _contact(dice: random.Random) -> str:
    phone = f"+1 202-555-01{dice.randrange(100):02d}"  # numbers kept free for fiction
    mail = f"{dice.choice(NAMES)}{dice.randrange(100)}@example.org"
    return dice.choice(CONTACTS).format(phone=phone, mail=mail)
