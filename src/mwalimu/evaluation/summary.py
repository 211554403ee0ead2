"""The arms' graded rows -> the numbers of scores.json: means, intervals, tests. Unknown is None."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mwalimu.config import Config
from mwalimu.evaluation.gate import gate
from mwalimu.evaluation.metrics.agreement import same_answer
from mwalimu.evaluation.metrics.calibration import BINS, ece_equal_mass, ece_equal_width
from mwalimu.evaluation.metrics.overlap import chrf, corpus_bleu, rouge
from mwalimu.evaluation.performance import Performance
from mwalimu.evaluation.price import price
from mwalimu.evaluation.statistics import (
    bootstrap_ratio,
    compared,
    holm,
    mean_interval,
    spread,
)
from mwalimu.evaluation.tasks import Tasks

Row = dict[str, Any]

TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class Result:
    """An arm's graded rows in test order, and what they cost; `repeats` as the arm's."""

    name: str
    rows: list[Row]
    performance: Performance
    usd_per_1k: float | None
    repeats: str = ""

    @property
    def scores(self) -> list[float]:
        return [row["score"] for row in self.rows]

    def column(self, key: str) -> list[Any]:
        return [row[key] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Extras:
    """What is measured beside the answers: None and empty where not asked for or not possible;
    `bert_score` is by arm."""

    divergence: dict[str, Any] | None = None
    load: list[dict[str, Any]] | None = None
    judge: dict[str, Any] | None = None
    bert_score: dict[str, float] = field(default_factory=dict)


def summarise(
    config: Config, results: Sequence[Result], tasks: Tasks, extras: Extras
) -> dict[str, Any]:
    """The summary of results over the same rows, the distilled student last.

    Scores are in 0..1, BLEU and chrF in 0..100, times in seconds, memory and size in MiB; intervals
    are 95 %. A comparison's difference is the student's mean minus the other's, and `p_adjusted`
    is Holm's over all comparisons.
    """
    *others, student = [result for result in results if not result.repeats]
    teacher = next((other for other in others if other.name == TEACHER), None)
    arms = [_arm(config, result, teacher, tasks, extras) for result in (*others, student)]
    unknown = any(arm[metric] is None for arm in arms for metric in ("bleu", "rouge_l"))
    summary = {
        "rows": len(student.rows),
        "seed": config.seed,
        "bootstrap": config.evaluate.bootstrap,
        "missing": ["pip install 'mwalimu[eval]'"] if unknown else [],
        "tasks": {
            task: {"rows": len(rows), "metric": tasks[task].grader.metric}
            for task, rows in _by(lambda row: row["task"], student.rows).items()
        },
        "arms": arms,
        "comparisons": _comparisons(config, student, others),
        "retention": _retention(config, student, teacher),
        "seeds": _seeds(results),
        "divergence": extras.divergence,
        "judge": extras.judge,
        "price": price(
            usd_per_hour=config.evaluate.usd_per_hour,
            requests_per_s=student.performance.requests_per_s,
            teacher_usd_per_1k=teacher.usd_per_1k if teacher else None,
        ),
    }
    return summary | {"verdict": gate(summary, config.evaluate.require)}


def _arm(
    config: Config, result: Result, teacher: Result | None, tasks: Tasks, extras: Extras
) -> dict[str, Any]:
    rows, measured = result.rows, result.performance
    predictions, references = result.column("prediction"), result.column("reference")
    rouges = rouge(predictions, references) or {}
    return {
        "name": result.name,
        "accuracy": _mean(config, rows),
        "by_task": _means(config, lambda row: row["task"], rows),
        "metrics": _task_metrics(tasks, rows),
        "groups": _groups(config, rows),
        "token_f1": sum(row["scores"]["token_f1"] for row in rows) / len(rows),
        "macro_f1": _macro_f1(tasks, rows),
        "bleu": corpus_bleu(predictions, references),
        "chrf": chrf(predictions, references),
        "rouge_1": rouges.get("rouge1"),
        "rouge_2": rouges.get("rouge2"),
        "rouge_l": rouges.get("rougeL"),
        "bert_score": extras.bert_score.get(result.name),
        "bits_per_byte": _bits_per_byte(rows),
        "calibration": _calibration(rows),
        "agreement": _agreement(result, teacher),
        "finished": _finished(rows),
        "latency_p50_s": measured.latency_p50_s,
        "latency_p95_s": measured.latency_p95_s,
        "latency_p99_s": measured.latency_p99_s,
        "first_token_p50_s": measured.first_token_p50_s,
        "tokens_per_s": measured.tokens_per_s,
        "requests_per_s": measured.requests_per_s,
        "joules_per_request": measured.joules_per_request,
        "peak_memory_mib": measured.peak_memory_mib,
        "parameters": measured.parameters,
        "size_mib": measured.size_mib,
        "usd_per_1k": result.usd_per_1k,
    }


def _by(key: Callable[[Row], str], rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def _mean(config: Config, rows: Sequence[Row]) -> dict[str, float]:
    scores = [row["score"] for row in rows]
    return mean_interval(scores, draws=config.evaluate.bootstrap, seed=config.seed)._asdict()


def _means(
    config: Config, key: Callable[[Row], str], rows: Sequence[Row]
) -> dict[str, dict[str, float]]:
    return {name: _mean(config, members) for name, members in _by(key, rows).items()}


def _groups(config: Config, rows: Sequence[Row]) -> dict[str, Any]:
    """By metadata key, then by its value as text; rows without the key are left out."""
    return {key: _group(config, key, rows) for key in config.evaluate.groups}


def _group(config: Config, key: str, rows: Sequence[Row]) -> dict[str, Any]:
    members = _by(lambda row: row["groups"][key], [row for row in rows if key in row["groups"]])
    return {
        value: {"rows": len(group), "accuracy": _mean(config, group)}
        for value, group in members.items()
    }


def _task_metrics(tasks: Tasks, rows: Sequence[Row]) -> dict[str, dict[str, float | None]]:
    """The corpus metrics that belong to each task."""
    found = {}
    for name, members in _by(lambda row: row["task"], rows).items():
        texts = [row["prediction"] for row in members], [row["reference"] for row in members]
        found[name] = {metric: of(*texts) for metric, of in tasks[name].corpus.items()}
    return found


def _macro_f1(tasks: Tasks, rows: Sequence[Row]) -> float | None:
    """Mean over the tasks that have labels; None where none has."""
    by_task = _task_metrics(tasks, rows).values()
    found = [score for metrics in by_task if (score := metrics.get("macro_f1")) is not None]
    return sum(found) / len(found) if found else None


def _bits_per_byte(rows: Sequence[Row]) -> float | None:
    """Of the references, their end included, over rows that fit the context (Gao et al. 2020)."""
    read = [row for row in rows if row["reference_nats"] is not None]
    size = sum(len(row["reference"].encode("utf-8", "surrogatepass")) for row in read)
    return sum(row["reference_nats"] for row in read) / math.log(2) / size if size else None


def _calibration(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Over rows that are right or wrong and whose answer has a probability."""
    read = [row for row in rows if row["confidence"] is not None and row["score"] in (0.0, 1.0)]
    if not read:
        return None
    sure, right = [row["confidence"] for row in read], [row["score"] for row in read]
    return {
        "ece": ece_equal_width(sure, right),
        "ece_equal_mass": ece_equal_mass(sure, right),
        "bins": BINS,
        "rows": len(read),
        "mean_confidence": sum(sure) / len(sure),
    }


def _agreement(result: Result, teacher: Result | None) -> float | None:
    if teacher is None or result is teacher:
        return None
    return same_answer(result.column("prediction"), teacher.column("prediction"))


def _finished(rows: Sequence[Row]) -> float | None:
    """The share of answers that the model itself ended; None if nobody saw how they ended."""
    ends = [row["finished"] for row in rows]
    return None if None in ends else sum(ends) / len(ends)


def _comparisons(config: Config, student: Result, others: Sequence[Result]) -> list[dict[str, Any]]:
    found = [_comparison(config, student, other) for other in others]
    adjusted = holm([one["p_value"] for one in found])
    return [one | {"p_adjusted": p} for one, p in zip(found, adjusted, strict=True)]


def _comparison(config: Config, student: Result, other: Result) -> dict[str, Any]:
    draws, seed = config.evaluate.bootstrap, config.seed
    found = compared(student.scores, other.scores, draws=draws, seed=seed)
    return {"arm": student.name, "against": other.name} | found


def _retention(config: Config, student: Result, teacher: Result | None) -> dict[str, float] | None:
    """The part of the teacher's accuracy that the student keeps."""
    if teacher is None:
        return None
    ratio = bootstrap_ratio(
        student.scores, teacher.scores, draws=config.evaluate.bootstrap, seed=config.seed
    )
    return ratio._asdict() if ratio else None


def _seeds(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """Accuracy over trainings of the same arm: the first is the arm itself. Empty without."""
    found = {}
    for name in dict.fromkeys(result.repeats for result in results if result.repeats):
        runs = [result for result in results if name in (result.name, result.repeats)]
        means = [sum(result.scores) / len(result.scores) for result in runs]
        found[name] = spread(means)._asdict() | {"accuracies": means}
    return found
