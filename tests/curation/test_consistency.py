"""Samples of one prompt: the majority by hand, ties, several forms of one answer."""

import pytest

from mwalimu.curation.consistency import consistency
from tests.curation.rows import row


def judged(answers: list[str], task: str = "math", agreement: float = 0.5) -> list[str]:
    """The reason of each sample of one prompt, "" for the kept one."""
    rows = [row(f"a#{i}" if i else "a", text, task=task) for i, text in enumerate(answers)]
    found = list(consistency(rows, agreement))
    assert [one.id for one, _ in found] == [one.id for one in rows]
    return [verdict.reason for _, verdict in found]


ASIDE, SPLIT = "another sample is kept", "the samples disagree"


@pytest.mark.parametrize(
    ("answers", "agreement", "expected"),
    [
        (["#### 3", "It is 4.", "3", "3.0"], 0.5, ["", ASIDE, ASIDE, ASIDE]),
        (["4", "#### 3", "It is 3."], 0.6, [ASIDE, "", ASIDE]),
        (["4", "#### 3", "It is 3."], 0.7, [SPLIT] * 3),
        (["3", "4"], 0.5, ["", ASIDE]),  # of two halves the first
        (["3", "4"], 0.51, [SPLIT] * 2),
        (["3"], 1.0, [""]),
    ],
)
def test_the_majority(answers: list[str], agreement: float, expected: list[str]) -> None:
    assert judged(answers, agreement=agreement) == expected


def test_labels_agree_in_any_form_and_free_text_is_left_alone() -> None:
    assert judged(["Neutral.", "neutral", "Steps.\nAnswer: NEUTRAL"], "nli") == ["", ASIDE, ASIDE]
    assert judged(["One way.", "Another way."], "summarization", 1.0) == ["", ""]


def test_prompts_are_told_apart_by_what_was_asked() -> None:
    """Also where a user's own id looks like that of a sample."""
    rows = [
        row("a", "1", "First?", task="math"),
        row("a#1", "2", "Second?", task="math"),
        row("a#1#1", "2", "Second?", task="math"),
        row("b#1", "3", "Third?", task="math"),
    ]
    found = [(one.id, verdict.keep) for one, verdict in consistency(rows, 1.0)]
    assert found == [("a", True), ("a#1", True), ("a#1#1", False), ("b#1", True)]
