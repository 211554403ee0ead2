"""Every task by name: those that are built in, and the user's own before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mwalimu.data.grading import GRADERS
from mwalimu.evaluation.tasks.base import Task
from mwalimu.evaluation.tasks.classification import CLASSIFICATION
from mwalimu.evaluation.tasks.conversation import CONVERSATION
from mwalimu.evaluation.tasks.math import MATH
from mwalimu.evaluation.tasks.nli import NLI
from mwalimu.evaluation.tasks.qa import QA
from mwalimu.evaluation.tasks.summarization import SUMMARIZATION
from mwalimu.evaluation.tasks.translation import TRANSLATION

GENERIC = Task("generic", "anything; the answer of the reference", GRADERS["generic"])
_BUILTIN = (NLI, CLASSIFICATION, QA, MATH, SUMMARIZATION, CONVERSATION, TRANSLATION, GENERIC)


def builtin_tasks() -> dict[str, Task]:
    return {task.name: task for task in _BUILTIN}


@dataclass(frozen=True, slots=True)
class Tasks:
    """`own` are the user's; a name that nobody knows is graded like generic."""

    own: Mapping[str, Task] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Task:
        known = builtin_tasks() | dict(self.own)
        return known.get(name) or replace(GENERIC, name=name)
