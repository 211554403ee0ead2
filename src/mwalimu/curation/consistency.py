"""Several samples of one prompt: the majority's answer is kept, once, if it is large enough.

Wang et al. 2023, "Self-Consistency Improves Chain of Thought Reasoning in Language Models",
section 2, with the task's own grader as equality.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mwalimu.curation.passes import Judged
from mwalimu.curation.row import Row, neighbours
from mwalimu.curation.verdict import KEPT, Verdict, fault
from mwalimu.data.final_answer import final_answer
from mwalimu.data.grading import grade

COMPARABLE = {"nli", "classification", "qa", "math"}
"""Tasks whose right answers are equal; two good summaries are not."""

SET_ASIDE = "another sample is kept"
"""No fault of the row."""


def consistency(rows: Iterable[Row], min_agreement: float) -> Iterator[Judged]:
    """The samples of a prompt stand together; memory is that of one prompt's.

    Of free text, and of a prompt with one sample, every row is kept.
    """
    for samples in neighbours(rows, _same_prompt):
        if len(samples) == 1 or samples[0].content["task"] not in COMPARABLE:
            yield from ((row, KEPT) for row in samples)
            continue
        kept, share = _majority(samples)
        for row in samples:
            yield row, _verdict(row is kept, share, min_agreement)


def _verdict(chosen: bool, share: float, min_agreement: float) -> Verdict:
    if share < min_agreement:
        return fault("the samples disagree", share)
    return KEPT if chosen else fault(SET_ASIDE, share)


def _majority(samples: list[Row]) -> tuple[Row, float]:
    """The first row of the largest group of equal answers, and the group's share.

    Of groups of one size the first one wins. An answer joins the first group whose first member it
    equals.
    """
    groups: list[list[Row]] = []
    for row in samples:
        for group in groups:
            if _agree(row, group[0]):
                group.append(row)
                break
        else:
            groups.append([row])
    largest = max(groups, key=len)
    return largest[0], len(largest) / len(samples)


def _agree(row: Row, other: Row) -> bool:
    return grade(row.content["task"], _said(row), final_answer(_said(other))) == 1


def _said(row: Row) -> str:
    return str(row.content["messages"][-1]["content"] or "")


def _same_prompt(row: Row, other: Row) -> bool:
    return bool(row.content["messages"][:-1] == other.content["messages"][:-1])
