"""Labels: those listed, those of the gold rows, and when the gold rows are believed."""

from collections import Counter

import pytest

from mwalimu.curation.checks.label import Seen, closed, count_labels, label, listed_labels
from mwalimu.curation.row import Answered


@pytest.mark.parametrize(
    "text", ["refund", "Refund.", " REFUND ", "Because of it.\nAnswer: refund"]
)
def test_forms_of_a_label(text: str) -> None:
    assert label(Answered("classification", "", text), listed_labels(["Refund"])).keep


@pytest.mark.parametrize("text", ["refunds", "refund it", "neutral", "Refund or repair"])
def test_what_is_no_label(text: str) -> None:
    verdict = label(Answered("classification", "", text), listed_labels(["refund", "repair"]))
    assert (verdict.reason, verdict.value) == ("none of the labels", text)


def test_tasks_without_labels_are_not_judged() -> None:
    assert label(Answered("qa", "", "anything"), listed_labels(["refund"])).keep
    assert label(Answered("classification", "", "anything"), listed_labels([])).keep
    assert not label(Answered("nli", "", "anything"), listed_labels([])).keep


def test_labels_are_counted_in_their_normal_form() -> None:
    rows = [
        Seen("classification", gold="Yes"),
        Seen("classification", gold="yes.", answer="Steps.\nAnswer: No"),
        Seen("classification", answer="NO"),
        Seen("qa", gold="42", answer="43"),
    ]
    assert count_labels(rows, "classification") == ({"yes": 2}, {"no": 2})


@pytest.mark.parametrize(
    ("gold", "answers", "believed"),
    [
        ({"a": 50, "b": 50}, {"a": 9, "b": 1}, True),
        ({"a": 98, "b": 2}, {"a": 75, "c": 25}, True),
        ({"a": 98, "b": 2}, {"a": 74, "c": 26}, False),  # a sorted file shows but a few labels
        ({"a": 99, "b": 1}, {"a": 9}, False),  # Good-Turing: one in a hundred is yet unseen
        ({"a": 49, "b": 50}, {"a": 9}, False),
        ({}, {}, False),
    ],
)
def test_when_gold_labels_are_all_there_are(
    gold: dict[str, int], answers: dict[str, int], believed: bool
) -> None:
    assert closed(Counter(gold), Counter(answers)) is believed
