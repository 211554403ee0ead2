"""Clean rows of random words, and rows planted among them: what the room has to find."""

import random

from mwalimu.data.record import Message, Record

WORDS = [
    f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "r", "sta", "lo", "m")
]
VOCABULARY = [one + two for one in WORDS for two in WORDS[::11]]


def sentence(rng: random.Random, low: int = 20, high: int = 60) -> str:
    return " ".join(rng.choice(VOCABULARY) for _ in range(rng.randint(low, high)))


def sentences(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [sentence(rng) for _ in range(count)]


def edited(text: str, share: float, rng: random.Random) -> str:
    """With `share` of the words, one at least, replaced, left out or doubled."""
    words = text.split()
    for place in rng.sample(range(len(words)), max(1, int(share * len(words)))):
        new = rng.choice(VOCABULARY)
        words[place] = rng.choice([new, "", f"{words[place]} {new}"])
    return " ".join(words)


def rewritten(text: str, rng: random.Random) -> str:
    """The same words in other writing."""
    words = [rng.choice([str.upper, str.title, str.lower])(word) for word in text.split()]
    marks = ["", "", ",", ".", "!", " -", ";", "…"]
    gaps = [" ", "  ", "\n", "\t", "\u00a0"]
    return "".join(word + rng.choice(marks) + rng.choice(gaps) for word in words)


def record(text: str, number: int = 0, system: str = "", answer: str | None = None) -> Record:
    before = (Message("system", system),) if system else ()
    return Record(str(number), "generic", (*before, Message("user", text)), answer)
