"""The teacher that does best on rows with gold answers, task by task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from statistics import fmean
from typing import Any

from mwalimu.data.grading import grade
from mwalimu.data.record import Record
from mwalimu.errors import ConfigError
from mwalimu.synthesis.answer import Row
from mwalimu.synthesis.engine import Item
from mwalimu.synthesis.ensemble.agreement import final_text
from mwalimu.synthesis.ensemble.base import Asked, Choice, Ensemble, Question
from mwalimu.synthesis.job import Job
from mwalimu.synthesis.verdict import Outcome

ROWS_A_TASK = 200


class Best(Ensemble):
    """Rows of a task without validation rows go to the first member."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._scores: dict[str, list[float]] | None = None
        self._rows: dict[str, int] = {}

    async def prepare(self, records: Iterable[Record]) -> None:
        """Asks every member up to `ROWS_A_TASK` rows of each task and grades what comes.

        Raises:
            ConfigError: no row has a gold answer.
        """
        rows = _graded_rows(records)
        if not rows:
            raise ConfigError(
                "no row has a gold answer, so no teacher can be found the best",
                where="data.validation",
                fix="give validation rows their answers, or take another ensemble.strategy",
            )
        scores: dict[str, list[list[float]]] = {}
        engine = self.job.engine(self._examine)
        async for outcome in engine.run(map(Item, rows)):
            scores.setdefault(outcome.record.task, []).append(outcome.provenance["scores"])
        self._scores = {
            task: [fmean(column) for column in zip(*table, strict=True)]
            for task, table in scores.items()
        }
        self._rows = {task: len(table) for task, table in scores.items()}

    async def choose(self, question: Question) -> Choice:
        task = question.record.task
        member = self._best(task)
        asked = [Asked(member, await self.ask(question, member))]
        score = (
            round(self._scores[task][member], 4) if self._scores and task in self._rows else None
        )
        return Choice(asked, 0 if asked[0].ok else None, {"validation_score": score})

    def notes(self) -> dict[str, Any]:
        """Also the mean score (0..1) of every member on the rows of each task."""
        tasks = {
            task: {
                "rows": self._rows[task],
                "scores": dict(zip(self.names, (round(score, 4) for score in row), strict=True)),
                "chosen": self.names[self._best(task)],
            }
            for task, row in sorted((self._scores or {}).items())
        }
        return super().notes() | {"validation": tasks}

    def _best(self, task: str) -> int:
        """Of equal ones the earlier."""
        if self._scores is None:
            raise RuntimeError("the teachers were not compared; call prepare() first")
        scores = self._scores.get(task)
        return scores.index(max(scores)) if scores else 0

    async def _examine(self, row: Row) -> Outcome:
        """The members' scores on a row, in the provenance; what is no answer scores 0."""
        asked = await self.ask_all(Question(row, None, 0))
        record = row.record
        scores = [
            grade(record.task, final_text(one.outcome, self.prompting), record.reference or "")
            if one.ok
            else 0.0
            for one in asked
        ]
        return replace(asked[0].outcome, provenance={"scores": scores})


def _graded_rows(records: Iterable[Record]) -> list[Record]:
    """The first `ROWS_A_TASK` of each task that have a gold answer."""
    count: dict[str, int] = {}
    rows = []
    for record in records:
        if record.reference is not None and count.get(record.task, 0) < ROWS_A_TASK:
            count[record.task] = count.get(record.task, 0) + 1
            rows.append(record)
    return rows
