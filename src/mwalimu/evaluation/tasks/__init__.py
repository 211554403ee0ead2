"""What each task is: how a row is graded, and what is told of many rows together."""

from mwalimu.data.grading import grade, grader_of
from mwalimu.evaluation.tasks.base import Task
from mwalimu.evaluation.tasks.catalogue import Tasks, builtin_tasks

__all__ = ["Task", "Tasks", "builtin_tasks", "grade", "grader_of"]
