"""Classification: one label of a set that the prompts name."""

from mwalimu.data.grading import LABEL
from mwalimu.evaluation.metrics.labels import macro_f1
from mwalimu.evaluation.tasks.base import Task

CLASSIFICATION = Task("classification", "a text; one label", LABEL, {"macro_f1": macro_f1})
