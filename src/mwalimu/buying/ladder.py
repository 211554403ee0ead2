"""Smaller runs of a finished one: students trained on a part of its rows. No teacher is asked."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from mwalimu.buying.book import Book
from mwalimu.buying.forecast import Point
from mwalimu.buying.looking import Look
from mwalimu.config import Config
from mwalimu.data.dataset import load_records
from mwalimu.data.record import Record
from mwalimu.errors import DataError
from mwalimu.progress import Progress
from mwalimu.run import Run, fingerprint

DISTILLED = "evaluate/predictions/student-distilled.jsonl"


class Rung(NamedTuple):
    """One `part` of `of` equal parts of the rows."""

    part: int
    of: int


RUNGS = (Rung(0, 8), Rung(1, 8), Rung(0, 4), Rung(1, 4), Rung(0, 2))
"""Together one and a quarter trainings; two of a size tell what the chance of a training is."""


def points_of(run: Run) -> tuple[Point, ...]:
    """What a run measured: its rounds, or else its evaluated student.

    Raises:
        RunError: it has no finished finetune stage, or was not evaluated.
    """
    if rounds := Book(run).measured():
        size = run.require("finetune").summary["parameters"]
        return tuple(point._replace(parameters=size) for point in rounds)
    return (_evaluated(run),)


def _evaluated(run: Run) -> Point:
    run.require("evaluate")
    answers = list(_rows(run.path(DISTILLED)))
    return Point(
        sum(1 for _ in _rows(run.learned()["train"])),
        tuple(row["score"] for row in answers),
        run.require("finetune").summary["parameters"],
        fingerprint([row["id"] for row in answers]),
    )


def climb(config: Config, run: Run, on_progress: Progress) -> tuple[Point, ...]:
    """The rungs of a run and the run itself, all graded on the same test rows.

    Students are in `forecast/<rows>-<part>/` of the run folder, and are not trained again. They
    learn as the run did: all its settings, the number of epochs among them, and validation rows.

    Raises:
        RunError: the run was not evaluated.
        DataError: it has too few rows to be divided.
    """
    whole = _evaluated(run)
    rows = list(_rows(run.learned()["train"]))
    most = max(rung.of for rung in RUNGS)
    if len(rows) < most:
        fix = "make a larger run, or name several"
        raise DataError(
            f"has {len(rows)} rows, too few for {most} parts", where=str(run.root), fix=fix
        )
    test = _test(config)
    found = []
    for number, rung in enumerate(RUNGS):
        student = _trained(config, run, list(_part(rows, rung)), rung, on_progress)
        on_progress("forecast", number + 1, len(RUNGS), f"1/{rung.of} of the rows is graded")
        scores = Look.of(student, config).scores(test, lambda _done, _total: None)
        found.append(whole._replace(rows=len(rows) // rung.of, scores=tuple(scores)))
    return (*found, whole)


def _trained(
    config: Config, run: Run, rows: list[dict[str, Any]], rung: Rung, on_progress: Progress
) -> Path:
    from mwalimu.finetune.finetune import learned_rows, train_student
    from mwalimu.finetune.teacher.white_box import WhiteBox

    folder = run.path("forecast", f"{len(rows)}-{rung.part}")
    train_student(
        config.student,
        config.finetune,
        rows,
        learned_rows(run).get("validation"),
        folder,
        seed=config.seed + rung.part,
        stage_fingerprint=fingerprint(["forecast", run.require("finetune").fingerprint]),
        on_progress=on_progress,
        label=f"1/{rung.of} of the rows",
        white_box=WhiteBox.of(config, run),
    )
    return folder / "student"


def _part(rows: list[dict[str, Any]], rung: Rung) -> Iterator[dict[str, Any]]:
    """Equal parts in the order of the ids' hashes; the rows of a part in their own order."""

    def key(row: dict[str, Any]) -> bytes:
        return blake2b(str(row["id"]).encode("utf-8", "surrogatepass")).digest()

    size = len(rows) // rung.of
    mine = sorted(rows, key=key)[rung.part * size : (rung.part + 1) * size]
    ids = {row["id"] for row in mine}
    return (row for row in rows if row["id"] in ids)


def _test(config: Config) -> list[Record]:
    """As the evaluation graded them; the run was evaluated, so there are some."""
    assert config.data.test is not None
    rows = load_records(config.data.test, task=config.task, split="test")
    return rows[: config.evaluate.max_rows]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, "rb") as handle:
        yield from map(orjson.loads, handle)
