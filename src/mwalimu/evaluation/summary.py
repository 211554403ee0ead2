"""The arms' graded rows -> the numbers of scores.json: means, intervals, tests. Unknown is None."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mwalimu.config import Config
from mwalimu.evaluation.metrics import corpus_bleu, rouge_l
from mwalimu.evaluation.performance import Performance
from mwalimu.evaluation.statistics import (
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    is_binary,
    mcnemar_exact,
    permutation_test,
)
from mwalimu.evaluation.tasks import grader_of

Row = dict[str, Any]

TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class Result:
    """An arm's graded rows in test order, and what they cost."""

    name: str
    rows: list[Row]
    performance: Performance
    usd_per_1k: float | None

    @property
    def scores(self) -> list[float]:
        return [row["score"] for row in self.rows]


def summarise(config: Config, results: Sequence[Result]) -> dict[str, Any]:
    """The summary of results over the same rows, the distilled student last.

    Scores are in 0..1, BLEU in 0..100, times in seconds, memory and size in MiB; intervals are
    95 %. A comparison's difference is the student's mean minus the other's.
    """
    *others, student = results
    arms = [_arm(config, result) for result in results]
    unknown = any(arm[metric] is None for arm in arms for metric in ("bleu", "rouge_l"))
    return {
        "rows": len(student.rows),
        "seed": config.seed,
        "bootstrap": config.evaluate.bootstrap,
        "missing": ["pip install 'mwalimu[eval]'"] if unknown else [],
        "tasks": {
            task: {"rows": len(rows), "metric": grader_of(task).metric}
            for task, rows in _by_task(student.rows).items()
        },
        "arms": arms,
        "comparisons": [_comparison(config, student, other) for other in others],
        "retention": _retention(config, student, others),
    }


def _arm(config: Config, result: Result) -> dict[str, Any]:
    rows, measured = result.rows, result.performance
    predictions = [row["prediction"] for row in rows]
    references = [row["reference"] for row in rows]
    by_task = _by_task(rows).items()
    return {
        "name": result.name,
        "accuracy": _mean(config, rows),
        "by_task": {task: _mean(config, members) for task, members in by_task},
        "token_f1": sum(row["scores"]["token_f1"] for row in rows) / len(rows),
        "bleu": corpus_bleu(predictions, references),
        "rouge_l": rouge_l(predictions, references),
        "finished": _finished(rows),
        "latency_p50_s": measured.latency_p50_s,
        "latency_p95_s": measured.latency_p95_s,
        "tokens_per_s": measured.tokens_per_s,
        "peak_memory_mib": measured.peak_memory_mib,
        "parameters": measured.parameters,
        "size_mib": measured.size_mib,
        "usd_per_1k": result.usd_per_1k,
    }


def _by_task(rows: Sequence[Row]) -> dict[str, list[Row]]:
    tasks: dict[str, list[Row]] = {}
    for row in rows:
        tasks.setdefault(row["task"], []).append(row)
    return tasks


def _mean(config: Config, rows: Sequence[Row]) -> dict[str, float]:
    scores = [row["score"] for row in rows]
    return bootstrap_mean(scores, draws=config.evaluate.bootstrap, seed=config.seed)._asdict()


def _finished(rows: Sequence[Row]) -> float | None:
    """The share of answers that the model itself ended; None if nobody saw how they ended."""
    ends = [row["finished"] for row in rows]
    return None if None in ends else sum(ends) / len(ends)


def _comparison(config: Config, student: Result, other: Result) -> dict[str, Any]:
    scores, others = student.scores, other.scores
    difference = bootstrap_difference(
        scores, others, draws=config.evaluate.bootstrap, seed=config.seed
    )
    binary = is_binary(scores, others)
    p_value = (
        mcnemar_exact(scores, others)
        if binary
        else permutation_test(scores, others, seed=config.seed)
    )
    return {
        "arm": student.name,
        "against": other.name,
        "difference": difference._asdict(),
        "p_value": p_value,
        "test": "exact McNemar" if binary else "paired permutation",
    }


def _retention(
    config: Config, student: Result, others: Sequence[Result]
) -> dict[str, float] | None:
    """The part of the teacher's accuracy that the student keeps."""
    teacher = next((other for other in others if other.name == TEACHER), None)
    if teacher is None:
        return None
    ratio = bootstrap_ratio(
        student.scores, teacher.scores, draws=config.evaluate.bootstrap, seed=config.seed
    )
    return ratio._asdict() if ratio else None
