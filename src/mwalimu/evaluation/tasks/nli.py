"""Natural-language inference: one of three labels."""

from mwalimu.data.grading import LABEL
from mwalimu.evaluation.metrics.labels import macro_f1
from mwalimu.evaluation.tasks.base import Task

NLI = Task(
    "nli",
    "premise and hypothesis; entailment, neutral or contradiction",
    LABEL,
    {"macro_f1": macro_f1},
)
