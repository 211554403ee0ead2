"""Translations, by their characters: words differ where languages inflect."""

from mwalimu.data.grading import CHARACTERS
from mwalimu.evaluation.metrics.overlap import chrf, corpus_bleu
from mwalimu.evaluation.tasks.base import Task

TRANSLATION = Task(
    "translation",
    "a text; the same in the language that the prompt names",
    CHARACTERS,
    {"chrf": chrf, "bleu": corpus_bleu},
)
