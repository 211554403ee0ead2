"""Summaries, by their words."""

from mwalimu.data.grading import WORDS
from mwalimu.evaluation.tasks.base import Task
from mwalimu.evaluation.tasks.corpus import rouge_of

SUMMARIZATION = Task(
    "summarization",
    "a text; its summary",
    WORDS,
    {kind: rouge_of(kind) for kind in ("rouge1", "rouge2", "rougeL")},
)
