"""The playground's other half, a process of its own: it loads a job's student and answers.

    python -m mwalimu.jobs.playground.player WORKSPACE JOB

A question is a line of JSON on its input, the answer a line on its output; it ends when its input
does, and so with its server, however that ends. It sees no GPU: those are for jobs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mwalimu.config import Config, build_config
from mwalimu.data.record import Json, Message, Record
from mwalimu.errors import RunError
from mwalimu.garbage import importing, left_at_the_end
from mwalimu.jobs.refusals import WrongState
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.workers.spending import Spending
from mwalimu.jobs.workers.worker import as_problem
from mwalimu.jobs.workspace import Workspace
from mwalimu.run import Run

UNPAID = "asking the teacher costs money"


class Player:
    """Of one job."""

    def __init__(self, workspace: Workspace, job: str) -> None:
        self.workspace = workspace
        self.job = job
        self.run = Run(workspace.run(job))
        self.jobs = JobStore(workspace.database)

    def reply(self, question: Json) -> Json:
        """{"student", "teacher", "note"}: `note` says why there is no teacher's answer."""
        messages = tuple(Message(turn["role"], turn["content"]) for turn in question["messages"])
        record = Record("playground", self._config.task, messages)
        most = question["max_tokens"]
        student = self._student(record, most)
        try:
            teacher = self._teacher(record, most, pay=question["pay"])
        except Exception as error:
            return {
                "student": student,
                "teacher": None,
                "note": as_problem(error, self.workspace)["what"],
            }
        note = UNPAID if teacher is None else ""
        return {"student": student, "teacher": teacher, "note": note}

    @cached_property
    def _config(self) -> Config:
        spec = self.jobs.get(self.job).spec
        return build_config(spec.config, base=self.workspace.nowhere, where=self.job)

    @cached_property
    def _answerer(self) -> Any:
        with importing():
            from mwalimu.evaluation.generate import load_answerer

        folder = self.run.path("finetune", "student")
        return load_answerer(folder, max_tokens=1, trust_remote_code=False)

    def _student(self, record: Record, most: int) -> Json:
        """`seconds` are without the loading, which only the first question waits for."""
        answerer = self._answerer
        prompts = answerer.encode([record])
        room = answerer.context - len(prompts[0])
        if room < 1:
            raise WrongState("is longer than the student can read", where="messages")
        return _timed(lambda: str(answerer.answer(prompts, tokens=min(most, room))[0].text))

    def _teacher(self, record: Record, most: int, *, pay: bool) -> Json | None:
        from mwalimu.synthesis.generate import answer

        config = self._config
        if not (pay or costs_nothing(config)):
            return None
        least = min(most, config.teacher.max_tokens)
        teacher = config.teacher.model_copy(update={"max_tokens": least})
        config = config.model_copy(update={"teacher": teacher})
        store = self.workspace.job(self.job) / "answers"

        def ask() -> str:
            ((outcome,), _) = answer(
                config, store, [record], run_id=self.run.id, on_progress=lambda *_: None
            )
            if outcome.status != "ok":
                raise RunError(f"the teacher's answer is {outcome.status}: {outcome.reason}")
            return outcome.text

        try:
            return _timed(ask)
        finally:
            if (spent := Spending(store, self.run.root).look()) is not None:
                self.jobs.note_spent(self.job, spent["usd"])


def costs_nothing(config: Config) -> bool:
    """Whether all its teachers are on this machine, or have a price of zero."""
    from mwalimu.synthesis.budget import Prices
    from mwalimu.teachers.base import Usage

    return all(Prices(teacher).nano_usd(Usage(1000, 1000)) == 0 for teacher in config.teachers())


def _timed(ask: Callable[[], str]) -> Json:
    started = time.perf_counter()
    text = ask()
    return {"text": text, "seconds": time.perf_counter() - started}


def main(arguments: Sequence[str]) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    root, job = arguments
    player = Player(Workspace(Path(root)), job)
    for line in sys.stdin:
        try:
            reply = player.reply(json.loads(line))
        except Exception as error:
            reply = {"error": as_problem(error, player.workspace)}
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    left_at_the_end()
    main(sys.argv[1:])
