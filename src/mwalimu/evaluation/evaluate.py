"""STAGE 3: every arm answers the same held-out rows; published is how well and how dear."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mwalimu.config import Config
from mwalimu.data.batched_generation import Answer
from mwalimu.data.record import Record
from mwalimu.errors import DataError
from mwalimu.evaluation.asking import Answered, Arm, Asking
from mwalimu.evaluation.beside import Beside
from mwalimu.evaluation.judge import Ask
from mwalimu.evaluation.metrics import token_f1
from mwalimu.evaluation.performance import LATENCY_ROWS, WARM_UP
from mwalimu.evaluation.reading import Read
from mwalimu.evaluation.summary import Extras, Result, Row, summarise
from mwalimu.evaluation.tasks import Tasks
from mwalimu.evaluation.tasks.own import load_tasks
from mwalimu.files import atomic_writer, write_json
from mwalimu.progress import Progress
from mwalimu.run import Run


def evaluate(
    config: Config,
    run: Run,
    arms: list[Arm],
    test: list[Record],
    *,
    stage_fingerprint: str,
    answers_fingerprint: str = "",
    on_progress: Progress,
    judge: Ask | None = None,
) -> dict[str, Any]:
    """Publishes predictions/<arm>.jsonl, performance.json and scores.json; returns the scores.

    The last arm is the distilled student, which the others are compared with; arms that repeat
    another with a new seed come before. `answers_fingerprint` is of what the arms' answers depend
    on, where the stage depends on more. `judge` compares the student's answers with the teacher's.

    Raises:
        DataError: there are no test rows, or some have no gold answer.
        StudentError: an arm's folder cannot be loaded.
        ConfigError: evaluate.tasks_file, .encoder or .load cannot be used.
    """
    require_references(test)
    tasks = load_tasks(config.evaluate.tasks_file)
    asking = Asking(config, run, test, answers_fingerprint or stage_fingerprint, on_progress)
    results, files = [], []
    for arm in arms:
        result = _result(config, tasks, arm, test, asking.answered(arm))
        path = run.path("evaluate", "predictions", f"{arm.name}.jsonl")
        write_rows(path, result.rows)
        results.append(result)
        files.append(path)
    extras = Beside(asking, arms, results, judge).measured()
    summary = summarise(config, results, tasks, extras)
    performance, scores = (run.path("evaluate", f"{n}.json") for n in ("performance", "scores"))
    write_json(performance, _performance(results, summary, extras))
    write_json(scores, summary)
    run.finish("evaluate", stage_fingerprint, [performance, scores, *files], summary)
    return summary


def require_references(test: list[Record]) -> None:
    """Raises DataError: there are no test rows, or some have no gold answer."""
    if not test:
        raise DataError("has no rows", where="data.test", fix="add held-out rows")
    if lacking := [record.id for record in test if record.reference is None]:
        raise DataError(
            f"{len(lacking)} of {len(test)} rows have no gold answer, the first is {lacking[0]!r}",
            where="data.test",
            fix="give every test row its answer",
        )


def _result(
    config: Config, tasks: Tasks, arm: Arm, test: Sequence[Record], answered: Answered
) -> Result:
    columns = zip(test, answered.answers, answered.own, answered.reference, strict=True)
    rows = [graded(tasks, config.evaluate.groups, *column) for column in columns]
    return Result(arm.name, rows, answered.performance, arm.usd_per_1k, arm.repeats)


def graded(
    tasks: Tasks,
    groups: Sequence[str],
    record: Record,
    answer: Answer | str,
    own: Read | None,
    reference: Read | None,
) -> Row:
    """An answer with its grades.

    `score` is the task's headline; `finished`: the model itself ended, None for a served one.
    `confidence` is the probability that the model gave its whole answer, the end included;
    `reference_nats` what the reference cost it, -ln p. None where unknown.
    """
    gold = record.reference or ""
    prediction = answer if isinstance(answer, str) else answer.text
    return {
        "id": record.id,
        "task": record.task,
        "prediction": prediction,
        "reference": gold,
        "finished": None if isinstance(answer, str) else answer.stopped,
        "score": tasks[record.task].score(prediction, gold),
        "scores": {"token_f1": token_f1(prediction, gold)},
        "confidence": None if own is None else math.exp(min(0.0, own.log_prob)),
        "reference_nats": None if reference is None else -reference.log_prob,
        "groups": {key: str(record.metadata[key]) for key in groups if key in record.metadata},
    }


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """A line a row; half a surrogate pair becomes its escape."""
    with atomic_writer(path) as handle:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace")
            handle.write(line + b"\n")


def _performance(
    results: Sequence[Result], summary: dict[str, Any], extras: Extras
) -> dict[str, Any]:
    """performance.json: each arm's measurements and how they were made."""
    method = {
        "latency_rows": LATENCY_ROWS,
        "warm_up": WARM_UP,
        "order": "one arm after another",
        "latency": "one request alone; the first warm_up rows are answered once more before",
        "first_token": "the same rows, answers of one token: prompt and first step",
        "rates": "the batched pass over all rows after the latencies, so nothing is cold",
        "load": "of the student; warm_up requests are sent before each measurement",
        "energy": "RAPL packages, or NVML power times time; null where the machine does not tell",
    }
    arms = {result.name: result.performance.to_json() for result in results}
    return {"method": method, "arms": arms, "load": extras.load, "price": summary["price"]}
