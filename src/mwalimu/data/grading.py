"""How a prediction is graded, by the task of its own row: pure functions of two texts.

In this room because a teacher is graded (on rows with gold answers) as a student is.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from mwalimu.data.chrf import sentence_chrf
from mwalimu.data.final_answer import final_answer

NLI_LABELS = ("entailment", "neutral", "contradiction")

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_LABEL_END = " .,;:!?\u3002\uff01\uff1f"  # the last three: full-width . ! ?

_MINUS = "[-\u2212]"
_NUMBER = re.compile(
    rf"(?P<sign>(?<![\w.)\]]){_MINUS})?"  # in 10-5 the dash is no sign
    rf"(?:[$€£¥₹]\s?(?P<inner>{_MINUS})?)?"
    r"(?P<value>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<!\d)\.\d+)"
    r"(?:/(?P<under>\d+))?"
)
_MARKER = re.compile(r"####|\banswer\b[*_]*\s*(?:is\b|[:=])", re.IGNORECASE)
# Longer ones are a model that repeats itself; Python refuses to read them above 4300 digits.
_MOST_DIGITS = 1000


def normalise(text: str) -> str:
    """Lower case, no ASCII punctuation, no English articles, single spaces.

    SQuAD's normalisation (Rajpurkar et al. 2016, the official evaluation script). Text of which
    that leaves nothing ("?!", "The") keeps its characters, so it equals itself alone.
    """
    lowered = " ".join(unicodedata.normalize("NFC", text).lower().split())
    bare = _ARTICLE.sub(" ", lowered.translate(_PUNCTUATION))
    return " ".join(bare.split()) or lowered


def normal_label(text: str) -> str:
    """Lower case, single spaces, no trailing punctuation; nothing else, so C++ is not C#."""
    folded = " ".join(text.casefold().split())
    return folded.rstrip(_LABEL_END) or folded


def exact_match(prediction: str, reference: str) -> float:
    """1.0 where the normalised texts are equal, else 0.0."""
    return float(normalise(prediction) == normalise(reference))


def label_match(prediction: str, reference: str) -> float:
    """1.0 where the labels are equal but for case, spaces and trailing punctuation, else 0.0."""
    return float(normal_label(prediction) == normal_label(reference))


def token_f1(prediction: str, reference: str) -> float:
    """Harmonic mean of precision and recall over normalised words, in 0..1.

    The bag-of-words F1 of SQuAD (Rajpurkar et al. 2016).
    """
    words, gold = normalise(prediction).split(), normalise(reference).split()
    common = sum((Counter(words) & Counter(gold)).values())
    if not common:
        return float(words == gold)
    return 2 * common / (len(words) + len(gold))


def numeric_match(prediction: str, reference: str) -> float:
    """1.0 where the final numbers are equal, exactly; texts decide if the reference has none."""
    wanted = final_number(reference)
    if wanted is None:
        return exact_match(prediction, reference)
    return float(final_number(prediction) == wanted)


def final_number(text: str) -> Fraction | None:
    """The number that `text` gives as its answer, or None.

    That is the first number after the last marker (`####`, `Answer:`, `the answer is`), past any
    `=` on the marker's line; without a marker, the last number of the text. Reads thousands
    commas, currency signs, decimals, signs and simple fractions (3/4).
    """
    markers = list(_MARKER.finditer(text))
    if markers:
        line = text[markers[-1].end() :].lstrip().partition("\n")[0]
        if numbers := _numbers(line.rpartition("=")[2]):
            return numbers[0]
    numbers = _numbers(text)
    return numbers[-1] if numbers else None


@dataclass(frozen=True, slots=True)
class Grader:
    """`score` maps (prediction, reference) to the headline score in 0..1."""

    metric: str
    score: Callable[[str, str], float]


LABEL = Grader("label match", label_match)
EXACT = Grader("exact match", exact_match)
NUMBER = Grader("numeric match", numeric_match)
WORDS = Grader("token F1", token_f1)
CHARACTERS = Grader("chrF", sentence_chrf)

GRADERS = {
    "nli": LABEL,
    "classification": LABEL,
    "qa": EXACT,
    "math": NUMBER,
    "summarization": WORDS,  # a good summary is rarely the reference word for word
    "conversation": EXACT,
    "translation": CHARACTERS,  # nor is a good translation
    "generic": EXACT,
}


def grader_of(task: str) -> Grader:
    """The grader of `task`; a name of the user's own is graded like generic."""
    return GRADERS.get(task, GRADERS["generic"])


def grade(task: str, prediction: str, reference: str) -> float:
    """The row's headline score: 0 or 1; for summarization and translation 0..1.

    Reasoning before a line "Answer: ..." is not graded.
    """
    return grader_of(task).score(final_answer(prediction), reference)


def _numbers(text: str) -> list[Fraction]:
    found = (_value(match) for match in _NUMBER.finditer(text))
    return [value for value in found if value is not None]


def _value(match: re.Match[str]) -> Fraction | None:
    if len(match.group()) > _MOST_DIGITS:
        return None
    value = Fraction(match["value"].replace(",", ""))
    if match["under"] and int(match["under"]):
        value /= int(match["under"])
    return -value if match["sign"] or match["inner"] else value
