"""A trial's answers graded by the run's own tasks, and held against the student's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from mwalimu.config import Config
from mwalimu.data.batched_generation import Answer, read_ids
from mwalimu.data.record import Record
from mwalimu.evaluation.evaluate import graded
from mwalimu.evaluation.metrics.agreement import same_answer
from mwalimu.evaluation.statistics import compared, mean_interval
from mwalimu.evaluation.summary import Row
from mwalimu.evaluation.tasks import Tasks


def with_text(tokenizer: Any, answer: Answer, ends: Sequence[int]) -> Answer:
    """A trial gives ids alone."""
    return answer._replace(text=read_ids(tokenizer, answer.ids, frozenset(ends)).text)


def graded_rows(
    config: Config, tasks: Tasks, test: Sequence[Record], answers: Sequence[Answer]
) -> list[Row]:
    """Prediction, grades and ids of each test row, in order."""
    groups = config.evaluate.groups
    return [
        graded(tasks, groups, record, answer, None, None) | {"ids": list(answer.ids)}
        for record, answer in zip(test, answers, strict=True)
    ]


def scored(config: Config, rows: Sequence[Row]) -> dict[str, Any]:
    """Accuracy with its 95 % interval, over all rows and by task."""

    def mean(some: Sequence[Row]) -> dict[str, float]:
        scores = [row["score"] for row in some]
        return mean_interval(scores, draws=config.evaluate.bootstrap, seed=config.seed)._asdict()

    tasks = sorted({row["task"] for row in rows})
    by_task = {task: mean([row for row in rows if row["task"] == task]) for task in tasks}
    return {"rows": len(rows), "accuracy": mean(rows), "by_task": by_task}


def against(config: Config, rows: Sequence[Row], student: Sequence[Row]) -> dict[str, Any]:
    """The export's rows less the student's: a paired test, and how often they say the same."""
    scores, others = ([row["score"] for row in side] for side in (rows, student))
    found = compared(scores, others, draws=config.evaluate.bootstrap, seed=config.seed)
    return found | {"agreement": agreement(rows, student)}


def agreement(rows: Sequence[Row], student: Sequence[Row]) -> dict[str, float]:
    """`answers`: the share whose ids are all equal; `prefix`: the mean share of equal leading ids,
    of the longer of both answers; `texts`: the share that says the same but for case and
    punctuation.
    """
    pairs = [(own["ids"], other["ids"]) for own, other in zip(rows, student, strict=True)]
    predictions = ([row["prediction"] for row in side] for side in (rows, student))
    return {
        "answers": sum(own == other for own, other in pairs) / len(pairs),
        "prefix": sum(_leading(*pair) for pair in pairs) / len(pairs),
        "texts": same_answer(*predictions),
    }


def _leading(own: Sequence[int], other: Sequence[int]) -> float:
    equal = sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(own, other, strict=False))
    )
    longer = max(len(own), len(other))
    return equal / longer if longer else 1.0
