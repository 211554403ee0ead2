"""Sentence pairs of natural language inference: SNLI, MultiNLI, ANLI, as files and on the hub.

{"premise", "hypothesis", "label": 0 | 1 | 2 | -1 or a word}     the hub's form of all of them
{"sentence1", "sentence2", "gold_label": a word or "-"}           SNLI's and MultiNLI's own
{"uid", "context", "hypothesis", "label": "e" | "n" | "c"}        ANLI's own
"""

from __future__ import annotations

from typing import Any

from mwalimu.data.chat import BadValue, text_value
from mwalimu.data.formats.base import Format
from mwalimu.data.grading import NLI_LABELS
from mwalimu.data.record import Json

SYSTEM = (
    "Does the premise entail the hypothesis? Answer with one word: entailment, neutral or "
    "contradiction."
)
PAIRS = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("context", "hypothesis"))
IDS = ("id", "pairID", "uid")
# The hub counts the labels in this order.
_LABELS = {str(number): label for number, label in enumerate(NLI_LABELS)}
_LABELS |= {label[0]: label for label in NLI_LABELS} | {label: label for label in NLI_LABELS}
_UNDECIDED = ("-1", "-", "", "None")


def _detects(row: Json) -> bool:
    return any(first in row and second in row for first, second in PAIRS)


def _read(row: Json) -> Json:
    """A pair on which its annotators did not agree has no answer. Raises BadValue."""
    first, second = next((pair for pair in PAIRS if pair[0] in row and pair[1] in row), PAIRS[0])
    premise, hypothesis = text_value(row.get(first), first), text_value(row.get(second), second)
    native: Json = {
        "task": "nli",
        "system": SYSTEM,
        "prompt": f"Premise: {premise}\nHypothesis: {hypothesis}",
    }
    if label := _label(row):
        native["completion"] = label
    identifier = next((row[name] for name in IDS if row.get(name)), None)
    return native if identifier is None else native | {"id": identifier}


def _label(row: Json) -> str:
    field = "gold_label" if "gold_label" in row else "label"
    given: Any = row.get(field)
    if str(given) in _UNDECIDED:
        return ""
    label = _LABELS.get(str(given).lower())
    if label is None:
        raise BadValue(field, f"is {given!r}", f"use 0, 1, 2 or {', '.join(NLI_LABELS)}")
    return label


NLI_PAIRS = Format("nli", "SNLI, MultiNLI, ANLI", detects=_detects, read=_read)
