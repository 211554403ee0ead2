"""`--below auto`: a run's evaluation says which answers of the student the teacher should give."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from mwalimu.errors import ConfigError, RunError
from mwalimu.run import Run
from mwalimu.serving.curve import Graded, Threshold, choose

AUTO = "auto"
MARGIN = 0.01  # of the served score below the teacher's
STUDENT, TEACHER = "student-distilled", "teacher"
SPLIT = "test"  # the one split with gold answers that both have answered


def threshold(below: str, run: Run, note: Callable[[str], None], margin: float = MARGIN) -> float:
    """What `--below` says: a number in 0..1, or "auto", which is told through `note`.

    Raises:
        ConfigError: it is neither.
        RunError, ConfigError: as `calibrated`.
    """
    if below == AUTO:
        found = calibrated(run, margin)
        note(in_words(found))
        return found.below
    try:
        number = float(below)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise ConfigError(
            f"{below!r} is no confidence", where="--below", fix=f"name one in 0..1, or {AUTO}"
        )
    return number


def calibrated(run: Run, margin: float = MARGIN) -> Threshold:
    """Chosen on the run's test rows: validation rows have the teacher's answers alone, no gold.

    Raises:
        RunError: the run is not evaluated.
        ConfigError: the evaluation lacks the teacher or confidences, or has too few rows.
    """
    found = choose(graded(run), margin, seed=int(run.manifest.get("seed", 0)))
    if found is None:
        raise ConfigError(
            f"the run has too few test rows to be sure of {margin:.1%}",
            where="--below auto",
            fix="evaluate on more rows, allow more with --margin, or name a number",
        )
    return found


def graded(run: Run) -> Graded:
    """What the two arms made of the test rows; an answer of unknown probability is of none.

    Raises:
        RunError, ConfigError: as `calibrated`.
    """
    student, teacher = _rows(run, STUDENT), _rows(run, TEACHER)
    if [row["id"] for row in student] != [row["id"] for row in teacher]:
        raise RunError(
            "the arms answered different rows",
            where=str(run.path("evaluate", "predictions")),
            fix="run 'mwalimu evaluate' again",
        )
    if all(row["confidence"] is None for row in student):
        raise ConfigError(
            "the evaluation has no confidences",
            where="--below auto",
            fix="set evaluate.likelihood to true and run 'mwalimu evaluate', or name a number",
        )
    return Graded(
        np.array([row["confidence"] or 0.0 for row in student]),
        np.array([row["score"] for row in student], np.float64),
        np.array([row["score"] for row in teacher], np.float64),
    )


def _rows(run: Run, arm: str) -> list[dict[str, Any]]:
    name = f"evaluate/predictions/{arm}.jsonl"
    if name not in run.require("evaluate").files:
        raise ConfigError(
            f"the run was evaluated without the arm {arm}",
            where="--below auto",
            fix="add it to evaluate.arms and run 'mwalimu evaluate', or name a number",
        )
    return [orjson.loads(line) for line in run.path(name).read_bytes().splitlines()]


def in_words(found: Threshold) -> str:
    """One line for whoever starts the server."""
    unseen = found.unseen
    return (
        f"--below {found.below:.4g}, chosen on {found.rows} {SPLIT} rows: {found.share:.1%} are "
        f"handed on, {found.served:.1%} right (student {found.student:.1%}, teacher "
        f"{found.teacher:.1%}); on rows it was not chosen on {unseen.mean:.1%} "
        f"[{unseen.low:.1%}, {unseen.high:.1%}], {found.unseen_share:.1%} handed on"
    )
