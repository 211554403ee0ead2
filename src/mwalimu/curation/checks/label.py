"""The answer has to be one of the task's labels.

The labels are those that the user lists, or those of the gold rows. A few gold rows need not show
every label: `closed` says whether theirs can be believed to be all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from mwalimu.curation.row import Answered
from mwalimu.curation.verdict import KEPT, Verdict, fault
from mwalimu.data.final_answer import final_answer
from mwalimu.data.grading import NLI_LABELS, normal_label

TASKS = ("nli", "classification")
Labels = Mapping[str, Collection[str]]
"""Normal forms of a task's labels, by task."""

ENOUGH_ROWS = 100
LEAST_COVERED = 0.75


class Seen(NamedTuple):
    """A row that may tell of a label: its gold answer, what the teacher answered, or both."""

    task: str
    gold: str | None = None
    answer: str | None = None


def label(answer: Answered, labels: Labels) -> Verdict:
    """A task without labels in `labels` is not judged. Case and the last stop do not matter."""
    known = labels.get(answer.task)
    given = final_answer(answer.text)
    if not known or normal_label(given) in known:
        return KEPT
    return fault("none of the labels", given)


def count_labels(rows: Iterable[Seen], task: str) -> tuple[Counter[str], Counter[str]]:
    """How often each label of `task` is the gold answer, and how often the teacher's.

    Memory grows with the different answers.
    """
    gold: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    for row in rows:
        if row.task == task:
            gold.update([] if row.gold is None else [normal_label(row.gold)])
            answers.update([] if row.answer is None else [normal_label(final_answer(row.answer))])
    return gold, answers


def listed_labels(known: Iterable[str]) -> Labels:
    """Every task of labels has those that the user lists; nli has its own three."""
    return {"nli": set(NLI_LABELS), "classification": {normal_label(name) for name in known}}


def closed(gold: Counter[str], answers: Counter[str]) -> bool:
    """Whether these gold labels are believed to be all there are.

    Good (1953, "The population frequencies of species"), eq. 9: the chance that the next row has
    an unseen label is about the share of rows whose label occurs once. That holds for rows drawn
    at random; the first rows of a sorted file show a few labels often, and the teacher many more.
    """
    covered = sum(answers[name] for name in gold)
    enough = gold.total() >= ENOUGH_ROWS and 1 not in gold.values()
    return enough and covered >= LEAST_COVERED * answers.total()
