"""Posts of a neighbourhood forum, and what its policy says of them.

No word decides alone: the target does ("useless" of a timetable is criticism, of a person an
insult), whose windows they are, whose address it is; and what is only quoted to report it is
allowed.
"""

from __future__ import annotations

import random

SYSTEM = (
    "Moderate this forum post. Answer with one label: allowed, insult, threat, scam, "
    "private_data or crisis. Quoting a post to report it is allowed."
)
SIZES = {"train": 400, "labelled": 48, "validation": 60, "test": 240}

# Most posts of a forum are nobody's business.
LABELS = {"allowed": 5, "insult": 2, "threat": 2, "scam": 2, "private_data": 2, "crisis": 2}

PEOPLE = (
    "my neighbour", "the caretaker", "that driver", "the new tenant", "the man from the kiosk",
    "our chairwoman", "the boy next door", "whoever runs this forum",
)  # fmt: skip
THINGS = (
    "the new timetable", "this bus line", "the repair of the lift", "the meeting",
    "the plan for the square", "that app", "the old bridge", "the heating",
)  # fmt: skip
AGAIN = ("", " again", " as always", ", and everybody knows it", ", if you ask me")
DISMISSED = ("useless", "a bad joke", "pathetic", "a waste of space", "the worst of all", "rotten")
PRAISED = ("a great help", "very kind to us", "better than last year", "worth every coin")
OWN = ("my old plates", "my own fence", "my broken chair", "this rotten shelf of mine")
THEIRS = ("the windows of", "the car of", "the door of", "the bicycle of")
SMASH = ("smash", "burn", "wreck", "kick in")
MONEY = ("50", "80", "120", "200", "300", "450")
PLACES = (
    "the library", "the clinic", "the town hall", "the swimming hall", "the post office",
    "the night chemist",
)  # fmt: skip
STREETS = ("Mango Street", "Harbour Road", "Mill Lane", "Acacia Way", "Station Road", "Hill Street")
GIVEN_UP = ("go on", "be here", "wake up tomorrow", "see another week")
LEFT = ("with this course", "with that gym", "at that table in the back", "as treasurer")
WHEN = ("tonight", "tomorrow", "on Friday", "this weekend", "soon")
OPENERS = (
    "", "Hello all. ", "Good evening. ", "I waited long to write this. ", "So. ", "Good morning. ",
    "Dear neighbours, ", "One more thing. ",
)  # fmt: skip
CLOSERS = (
    "", " Just so you know.", " Thanks for reading.", " What do you think?", " That is all.",
    " See you.", " Greetings from the third floor.",
)  # fmt: skip
QUOTES = (
    "Somebody wrote here: '{}' Please take that down.",
    "I report this post: '{}'",
    "Under my photo stands '{}' Can an admin look at it?",
)


def draw(dice: random.Random) -> tuple[str, str, str]:
    """(core, post, label)."""
    label, said = dice.choice(KINDS)(dice)
    core = said
    if label != "allowed" and dice.random() < 0.2:
        label, said = "allowed", dice.choice(QUOTES).format(said)
        core = f"quoted {core}"
    return core, dice.choice(OPENERS) + said + dice.choice(CLOSERS), label


def _verdict(dice: random.Random) -> tuple[str, str]:
    """Of a person or a thing, dismissed or praised: one of four is an insult."""
    person = dice.random() < 0.6
    dismissed = dice.random() < 0.75
    target = dice.choice(PEOPLE if person else THINGS)
    what = dice.choice(DISMISSED if dismissed else PRAISED)
    said = f"{_upper(target)} is {what}{dice.choice(AGAIN)}."
    return "insult" if person and dismissed else "allowed", said


def _damage(dice: random.Random) -> tuple[str, str]:
    verb, when = dice.choice(SMASH), dice.choice(WHEN)
    if dice.random() < 0.35:
        return "allowed", f"I will {verb} {dice.choice(OWN)} {when}."
    whose = f"{dice.choice(THEIRS)} {dice.choice(PEOPLE)}"
    return "threat", f"I will {verb} {whose} {when}."


def _money(dice: random.Random) -> tuple[str, str]:
    amount, back, when = dice.choice(MONEY), dice.choice(MONEY) + "0", dice.choice(WHEN)
    return dice.choice(
        (
            ("scam", f"Send {amount} to my account and you get {back} back {when}."),
            ("scam", f"Pay {amount} first, then your prize of {back} is set free {when}."),
            ("allowed", f"I sent {amount} and never got the {back} back. Do not pay {when}."),
            ("allowed", f"We collect {amount} for the party {when}; {back} are still missing."),
        )
    )


def _address(dice: random.Random) -> tuple[str, str]:
    number, street = dice.randint(2, 98), dice.choice(STREETS)
    if dice.random() < 0.45:
        return "allowed", f"{_upper(dice.choice(PLACES))} is at {number} {street}."
    who = dice.choice(PEOPLE)
    way = dice.choice(("lives at", "sleeps at", "can be found at home at"))
    return "private_data", f"{_upper(who)} {way} {number} {street}."


def _despair(dice: random.Random) -> tuple[str, str]:
    end = dice.choice(GIVEN_UP)
    why = dice.choice(("", "Nobody would miss me. ", "I am so tired. ", "It rained all week. "))
    if dice.random() < 0.45:
        return "allowed", f"{why}I do not want to {end} {dice.choice(LEFT)}."
    more = dice.choice((" any more", "", " after all this", " without her"))
    return "crisis", f"{why}I do not want to {end}{more}."


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


KINDS = (_verdict, _damage, _money, _address, _despair)
