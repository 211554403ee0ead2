"""What a student makes of rows: how well it answers them, and how far it doubts its own answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mwalimu.config import Config
from mwalimu.data.batched_generation import Answer
from mwalimu.data.record import Record
from mwalimu.evaluation.generate import Answerer, load_answerer
from mwalimu.evaluation.reading import read_texts
from mwalimu.evaluation.tasks import Tasks
from mwalimu.evaluation.tasks.own import load_tasks

Floats = NDArray[np.float64]
Told = Callable[[int, int], None]
"""Called with how many rows are done, of how many."""


@dataclass(frozen=True, slots=True)
class Look:
    """A loaded student that answers greedily, as the evaluation has it answer."""

    answerer: Answerer
    tasks: Tasks
    batch_size: int

    @classmethod
    def of(cls, student: Path, config: Config) -> Self:
        """Raises StudentError where the folder cannot be loaded."""
        settings = config.evaluate
        answerer = load_answerer(
            student,
            max_tokens=settings.max_tokens,
            trust_remote_code=config.student.trust_remote_code,
        )
        return cls(answerer, load_tasks(settings.tasks_file), settings.batch_size)

    def scores(self, rows: Sequence[Record], told: Told) -> list[float]:
        """Of each row in 0..1, by its task's grader against its reference."""
        answers = self._answers(rows, told)
        return [
            self.tasks[row.task].score(answer.text, row.reference or "")
            for row, answer in zip(rows, answers, strict=True)
        ]

    def doubts(self, rows: Sequence[Record], told: Told) -> Floats:
        """(rows,) 1 - the probability of the student's own whole answer, its end included.

        The least confident first, as Lewis and Gale 1994 sample; the confidence is the one that
        `mwalimu serve --below` compares. An answer that was cut is doubted wholly.
        """
        answers = self._answers(rows, told)
        read = read_texts(self.answerer, rows, [answer.text for answer in answers])
        sure = [
            math.exp(min(0.0, own.log_prob)) if own is not None and answer.stopped else 0.0
            for answer, own in zip(answers, read, strict=True)
        ]
        return 1 - np.array(sure, np.float64)

    def _answers(self, rows: Sequence[Record], told: Told) -> list[Answer]:
        prompts = self.answerer.encode(rows)
        return self.answerer.answer_all(
            prompts, batch_size=self.batch_size, on_batch=lambda done: told(done, len(rows))
        )
