"""Reasoning, or the teacher's own person, where only the answer was wanted."""

from __future__ import annotations

import re

from mwalimu.curation.row import SHORT_ANSWERS, Answered
from mwalimu.curation.verdict import KEPT, Verdict, fault

_TAGS = re.compile(
    r"</?(?:think|thinking|thought|reasoning|reflection|scratchpad|analysis|rationale)>",
    re.IGNORECASE,
)
_STEPS = re.compile(
    r"\A\W*(?:"
    r"step\s+(?:1|one)\s*[:.)]"
    r"|(?:let'?s|let us)\s+(?:think|work|break|analy[sz]e|consider|look)\b"
    r"|(?:okay|ok|alright|hmm)\s*,\s|first,?\s+(?:i|we|let|note|consider|look|read)\b"
    r"|to\s+(?:determine|answer|classify|decide|solve|find)\b[^.\n]*,\s"
    r"|(?:reasoning|rationale|explanation|analysis|thought|chain of thought)\s*:"
    r"|hatua\s+ya\s+(?:1|kwanza)\b|schritt\s+1\s*:|[ée]tape\s+1\s*:|paso\s+1\s*:"
    r")",
    re.IGNORECASE,
)
_PERSONA = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)(?: language)?"
    r"(?: model| assistant)?\s*(?:,|\bi\b|\b(?:developed|trained|created|made) by\b)"
    r"|\bi(?:'m| am) (?:just |only )?an? (?:ai|large) language model\b"
    r"|\bkama (?:modeli|mfumo) (?:ya|wa) (?:lugha|akili)\b"
    r"|\bals (?:ki-)?sprachmodell\b|\ben tant que mod[èe]le de langage\b"
    r"|\bcomo modelo de (?:lenguaje|linguagem)\b",
    re.IGNORECASE,
)


def leaked(answer: Answered) -> Verdict:
    """Tags and persona in every task, worked steps where the answer is a label or a phrase."""
    if (tag := _TAGS.search(answer.text)) and tag.group() not in answer.prompt:
        return fault("a tag of reasoning", tag.group())
    if answer.task in SHORT_ANSWERS and (steps := _STEPS.match(answer.text)):
        return fault("reasoning before a short answer", steps.group())
    if persona := _PERSONA.search(answer.text):
        return fault("the teacher speaks of itself", persona.group())
    return KEPT
