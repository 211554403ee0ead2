"""Questions with short answers."""

from mwalimu.data.grading import EXACT, token_f1
from mwalimu.evaluation.tasks.base import Task
from mwalimu.evaluation.tasks.corpus import mean_of

QA = Task("qa", "a question; its short answer", EXACT, {"token_f1": mean_of(token_f1)})
