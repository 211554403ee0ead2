"""Replies in a conversation: right where they say what the reference says."""

from mwalimu.data.grading import EXACT, token_f1
from mwalimu.evaluation.metrics.overlap import chrf
from mwalimu.evaluation.tasks.base import Task
from mwalimu.evaluation.tasks.corpus import mean_of

CONVERSATION = Task(
    "conversation",
    "turns; the assistant's next one",
    EXACT,
    {"token_f1": mean_of(token_f1), "chrf": chrf},
)
