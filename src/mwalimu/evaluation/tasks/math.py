"""Word problems whose answer is a number."""

from mwalimu.data.grading import NUMBER, exact_match
from mwalimu.evaluation.tasks.base import Task
from mwalimu.evaluation.tasks.corpus import mean_of

MATH = Task("math", "a problem; a final number", NUMBER, {"exact_match": mean_of(exact_match)})
