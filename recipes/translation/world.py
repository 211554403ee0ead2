"""Everyday sentences in English and Swahili, each translated one way or the other.

Swahili agrees: verbs with the subject, adjectives and numbers with the class of their noun, and a
negated verb has other prefixes and, in the present, another ending. All pairs are unambiguous: a
noun that looks the same in both numbers is counted wherever it is many.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

SYSTEM = (
    "Translate English into Swahili, and Swahili into English. Answer with the translation alone."
)
SIZES = {"train": 600, "labelled": 60, "validation": 60, "test": 240}
# Two languages are more to learn than a few labels: what the small pair has of it, and in small
# pieces of words, since Swahili puts its verbs together.
SMALL = {"lessons": 8000, "lesson_epochs": 3, "prompts": 2000, "vocabulary": 420}


class Subject(NamedTuple):
    english: str
    swahili: str
    prefix: str
    negated: str
    be: str
    have: str


SUBJECTS = (
    Subject("I", "", "ni", "si", "am", "have"),
    Subject("you", "", "u", "hu", "are", "have"),
    Subject("we", "", "tu", "hatu", "are", "have"),
    Subject("they", "", "wa", "hawa", "are", "have"),
    Subject("the teacher", "mwalimu", "a", "ha", "is", "has"),
    Subject("the child", "mtoto", "a", "ha", "is", "has"),
    Subject("my mother", "mama yangu", "a", "ha", "is", "has"),
    Subject("the doctor", "daktari", "a", "ha", "is", "has"),
    Subject("the guests", "wageni", "wa", "hawa", "are", "have"),
    Subject("the children", "watoto", "wa", "hawa", "are", "have"),
)
# English: base, -ing, past, participle.
VERBS = {
    "nunua": ("buy", "buying", "bought", "bought"),
    "uza": ("sell", "selling", "sold", "sold"),
    "leta": ("bring", "bringing", "brought", "brought"),
    "beba": ("carry", "carrying", "carried", "carried"),
    "tafuta": ("look for", "looking for", "looked for", "looked for"),
    "ficha": ("hide", "hiding", "hid", "hidden"),
    "poteza": ("lose", "losing", "lost", "lost"),
    "tuma": ("send", "sending", "sent", "sent"),
    "osha": ("wash", "washing", "washed", "washed"),
    "vuta": ("pull", "pulling", "pulled", "pulled"),
}
# One and many of each noun class: the noun's forms, then the class of adjectives and numbers.
NOUNS = {
    "basket": ("kikapu", "vikapu", "ki", "vi"),
    "chair": ("kiti", "viti", "ki", "vi"),
    "cup": ("kikombe", "vikombe", "ki", "vi"),
    "bag": ("mfuko", "mifuko", "m", "mi"),
    "loaf": ("mkate", "mikate", "m", "mi"),
    "box": ("sanduku", "masanduku", "ji", "ma"),
    "car": ("gari", "magari", "ji", "ma"),
    "table": ("meza", "meza", "n", "n"),
    "lamp": ("taa", "taa", "n", "n"),
    "bottle": ("chupa", "chupa", "n", "n"),
}
MANY = {"loaf": "loaves", "box": "boxes"}
CLASSES = ("ki", "vi", "m", "mi", "ji", "ma", "n")
_AGREEING = {
    "big": ("kikubwa", "vikubwa", "mkubwa", "mikubwa", "kubwa", "makubwa", "kubwa"),
    "small": ("kidogo", "vidogo", "mdogo", "midogo", "dogo", "madogo", "ndogo"),
    "new": ("kipya", "vipya", "mpya", "mipya", "jipya", "mapya", "mpya"),
    "heavy": ("kizito", "vizito", "mzito", "mizito", "zito", "mazito", "nzito"),
}
ADJECTIVES = {
    english: dict(zip(CLASSES, forms, strict=True)) for english, forms in _AGREEING.items()
}
NUMBERS = {
    "two": {"vi": "viwili", "mi": "miwili", "ma": "mawili", "n": "mbili"},
    "three": {"vi": "vitatu", "mi": "mitatu", "ma": "matatu", "n": "tatu"},
    "four": {"vi": "vinne", "mi": "minne", "ma": "manne", "n": "nne"},
}
TENSES = ("present", "past", "future", "perfect")
TIMES = {
    "present": (("now", "sasa"), ("today", "leo")),
    "past": (("yesterday", "jana"), ("in the morning", "asubuhi")),
    "future": (("tomorrow", "kesho"), ("later", "baadaye")),
    "perfect": (("today", "leo"),),
}
PLACES = (("at the market", "sokoni"), ("at home", "nyumbani"), ("in town", "mjini"))


def draw(dice: random.Random) -> tuple[str, str, str, dict[str, Any]]:
    """(core, sentence, translation, its direction)."""
    subject, verb = dice.choice(SUBJECTS), dice.choice(sorted(VERBS))
    tense, negated = dice.choice(TENSES), dice.random() < 0.35
    noun, many, adjective = dice.choice(sorted(NOUNS)), dice.random() < 0.4, _maybe(dice)
    counted = many and (NOUNS[noun][0] == NOUNS[noun][1] or dice.random() < 0.5)
    number = dice.choice(sorted(NUMBERS)) if counted else ""
    english_object, swahili_object = things(noun, adjective, number, many=many)
    said = clause(subject, verb, tense, negated=negated)
    english, swahili = [said[0], english_object], [said[1], swahili_object]
    for pairs, chance in ((PLACES, 0.4), (TIMES[tense], 0.5)):
        if dice.random() < chance:
            place = dice.choice(pairs)
            english.append(place[0])
            swahili.append(place[1])
    texts = _sentence(english), _sentence(swahili)
    core = f"{subject.english} {verb} {tense} {negated} {swahili_object}"
    if dice.random() < 0.5:
        return core, texts[0], texts[1], {"direction": "to Swahili"}
    return core, texts[1], texts[0], {"direction": "to English"}


def things(noun: str, adjective: str, number: str, *, many: bool) -> tuple[str, str]:
    """The object in both languages."""
    named = MANY.get(noun, noun + "s") if many else noun
    english = " ".join(filter(None, ("the", number, adjective, named)))
    one, several, class_of_one, class_of_many = NOUNS[noun]
    of = class_of_many if many else class_of_one
    agreeing = ADJECTIVES[adjective][of] if adjective else ""
    counted = NUMBERS[number][of] if number else ""
    return english, " ".join(filter(None, (several if many else one, agreeing, counted)))


def clause(subject: Subject, verb: str, tense: str, *, negated: bool) -> tuple[str, str]:
    """Subject and verb in both languages."""
    return (
        _english(subject, verb, tense, negated=negated),
        _swahili(subject, verb, tense, negated=negated),
    )


def _swahili(subject: Subject, verb: str, tense: str, *, negated: bool) -> str:
    if negated:
        mark = {"present": "", "past": "ku", "future": "ta", "perfect": "ja"}[tense]
        stem = verb[:-1] + "i" if tense == "present" else verb
        said = subject.negated + mark + stem
    else:
        mark = {"present": "na", "past": "li", "future": "ta", "perfect": "me"}[tense]
        said = subject.prefix + mark + verb
    return f"{subject.swahili} {said}".strip()


def _english(subject: Subject, verb: str, tense: str, *, negated: bool) -> str:
    base, ing, past, participle = VERBS[verb]
    no = " not" if negated else ""
    said = {
        "present": f"{subject.be}{no} {ing}",
        "past": f"did not {base}" if negated else past,
        "future": f"will{no} {base}",
        "perfect": f"{subject.have}{no} {participle}",
    }[tense]
    return f"{subject.english} {said}"


def _maybe(dice: random.Random) -> str:
    return dice.choice(sorted(ADJECTIVES)) if dice.random() < 0.5 else ""


def _sentence(parts: list[str]) -> str:
    text = " ".join(parts)
    return text[0].upper() + text[1:] + "."
