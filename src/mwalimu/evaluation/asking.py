"""One arm after another answers the test rows; nothing that was answered or measured is lost.

`evaluate/answers/<arm>.jsonl` grows batch by batch; `evaluate/performance/<arm>.json` comes when an
arm is done. Grades are always made anew from the answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwalimu.config import Config
from mwalimu.data.batched_generation import Answer
from mwalimu.data.record import Record
from mwalimu.evaluation.generate import UNANSWERED, Answerer, load_answerer
from mwalimu.evaluation.journal import Journal
from mwalimu.evaluation.memory import release_memory
from mwalimu.evaluation.performance import Performance, loaded_of, measured_answers
from mwalimu.evaluation.reading import Read, read_texts
from mwalimu.evaluation.summary import TEACHER
from mwalimu.files import sha256_file, write_json
from mwalimu.progress import Progress
from mwalimu.run import Run, fingerprint


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the models compared.

    `folder` is a transformers folder (or hub id) to answer with on this machine. `answers`
    (record id -> text) are those of a served teacher: nothing is known of its speed. `repeats`
    names the arm of which this is the same training with another seed.
    """

    name: str
    folder: Path | None
    answers: dict[str, str] | None
    usd_per_1k: float | None
    repeats: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """In test order. `own` is how the model reads its own answers, `reference` the gold ones.

    `answers` are texts where nobody saw how they ended.
    """

    answers: Sequence[Answer | str]
    own: Sequence[Read | None]
    reference: Sequence[Read | None]
    performance: Performance


class Asking:
    """`basis` is what all answers depend on, beside the arm itself and the settings here."""

    def __init__(
        self, config: Config, run: Run, test: list[Record], basis: str, on_progress: Progress
    ) -> None:
        self.config = config
        self.run = run
        self.test = test
        self.on_progress = on_progress
        self.basis = {
            "stage": basis,
            "max_tokens": config.evaluate.max_tokens,
            "batch_size": config.evaluate.batch_size,
            "likelihood": config.evaluate.likelihood,
            "test": [record.to_json() for record in test],
        }

    def answered(self, arm: Arm) -> Answered:
        """From the disk where that is whole and fits; what is missing is asked."""
        stage, total = f"evaluate {arm.name}", len(self.test)
        if arm.folder is None:
            texts = [(arm.answers or {}).get(record.id, "") for record in self.test]
            self.on_progress(stage, total, total, "")
            unread: list[Read | None] = [None] * total
            return Answered(texts, unread, unread, Performance())
        wanted = fingerprint(self.basis | {"arm": _identity(arm.folder)})
        journal = Journal.opened(self.run.path("evaluate", "answers", f"{arm.name}.jsonl"), wanted)
        state = self.run.path("evaluate", "performance", f"{arm.name}.json")
        if (known := _known(state, wanted, journal, total)) is not None:
            self.on_progress(stage, total, total, "already done")
            return known
        found = self._ask(arm, journal)
        write_json(state, _state(wanted, journal, found))
        return found

    def load(self, arm: Arm) -> Answerer:
        """The setting is the student's; a teacher's own code is never run."""
        assert arm.folder is not None
        trusted = self.config.student.trust_remote_code and arm.name != TEACHER
        most = self.config.evaluate.max_tokens
        return load_answerer(arm.folder, max_tokens=most, trust_remote_code=trusted)

    def _ask(self, arm: Arm, journal: Journal) -> Answered:
        assert arm.folder is not None
        stage, total = f"evaluate {arm.name}", len(self.test)
        self.on_progress(stage, len(journal.answers), total, "")
        try:
            answerer = self.load(arm)
            prompts = answerer.encode(self.test)
            if left_out := total - len(answerer.fitting(prompts)):
                said = f"{left_out} of {total} prompts leave no room for evaluate.max_tokens"
                self.on_progress(stage, 0, 0, f"{said} in its context; they count as unanswered")
            answers, performance = measured_answers(
                answerer,
                prompts,
                loaded=loaded_of(answerer.model, arm.folder),
                batch_size=self.config.evaluate.batch_size,
                journal=journal,
                on_done=lambda done: self.on_progress(stage, done, total, ""),
            )
            own, reference = self._read(answerer, answers)
            return Answered(answers, own, reference, performance)
        finally:
            release_memory()

    def _read(
        self, answerer: Answerer, answers: Sequence[Answer]
    ) -> tuple[list[Read | None], list[Read | None]]:
        if not self.config.evaluate.likelihood:
            return [None] * len(answers), [None] * len(answers)
        gold = [record.reference or "" for record in self.test]
        own = read_texts(answerer, self.test, [answer.text for answer in answers])
        # An answer that was cut has no probability as a whole.
        ended = [read if a.stopped else None for read, a in zip(own, answers, strict=True)]
        return ended, read_texts(answerer, self.test, gold)


def _identity(folder: Path) -> Any:
    """What answers depend on: the files of the folder, or a hub id."""
    files = sorted(path for path in folder.glob("*") if path.is_file())
    return {path.name: sha256_file(path) for path in files} or str(folder)


def _state(wanted: str, journal: Journal, found: Answered) -> dict[str, Any]:
    return {
        "fingerprint": wanted,
        "answered": len(journal.answers),
        "performance": found.performance.to_json(),
        "own": found.own,
        "reference": found.reference,
    }


def _known(state: Path, wanted: str, journal: Journal, total: int) -> Answered | None:
    """What an earlier life finished, if it depended on the same and its answers are whole."""
    try:
        facts = json.loads(state.read_bytes())
        if facts["fingerprint"] != wanted or facts["answered"] != len(journal.answers):
            return None
        own, reference = (
            [None if read is None else Read(*read) for read in facts[name]]
            for name in ("own", "reference")
        )
        performance = Performance(**facts["performance"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    answers = [journal.answers.get(row, UNANSWERED) for row in range(total)]
    return Answered(answers, own, reference, performance)
