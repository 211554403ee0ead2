"""Where models are tried: the same prompts, the same rows to read, the student beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mwalimu.config import Config
from mwalimu.data.context import context_of
from mwalimu.data.loading import base_of, load_tokenizer
from mwalimu.data.record import Record
from mwalimu.data.tokenize import encode_prompt, ending_ids, prepare_tokenizer
from mwalimu.evaluation.generate import UNANSWERED
from mwalimu.evaluation.journal import Journal
from mwalimu.evaluation.performance import Performance
from mwalimu.evaluation.summary import Row
from mwalimu.evaluation.tasks.own import load_tasks
from mwalimu.export.calibration import calibration_rows
from mwalimu.export.parity import Parity
from mwalimu.progress import Progress
from mwalimu.run import Run, fingerprint
from mwalimu.runtimes import Export
from mwalimu.shipping.grading import graded_rows, with_text
from mwalimu.shipping.trial import Found, Job, read_found

Trial = Callable[[Job, Callable[[int], None]], Found]

MAX_LENGTH = 2048  # tokens of a row, where the config sets nothing, as in training
PARITY_ROWS, PARITY_TOKENS = 4, 64
STUDENT = "student"


@dataclass(frozen=True, slots=True)
class Tried:
    """What a trial found, and its graded answers to the test rows; none without such rows."""

    loaded_mib: float | None
    performance: Performance
    parity: Parity | None
    rows: list[Row]


class Bench:
    """`basis` is the fingerprint of the student's files, `place` the folder of the trials."""

    def __init__(
        self,
        config: Config,
        run: Run,
        test: Sequence[Record],
        basis: str,
        trial: Trial,
        progress: Progress,
        place: Path | None = None,
    ) -> None:
        self.config = config
        self.run = run
        self.test = test
        self.basis = basis
        self.trial = trial
        self.progress = progress
        self.place = place or run.path("export", "trials")
        self.folder = run.path("finetune", "student")
        self.tasks = load_tasks(config.evaluate.tasks_file)

    @cached_property
    def calibration(self) -> list[list[int]]:
        """Rows of ids that the student learned; the first are those of which parity is measured."""
        return calibration_rows(
            self.folder,
            self.run.learned()["train"],
            wanted=self.config.export.calibration_rows,
            max_length=self._max_length,
            seed=self.config.seed,
        )

    def student(self) -> Tried:
        """The student in full precision, as transformers runs it: what exports are held against.

        Raises StudentError.
        """
        size = sum(path.stat().st_size for path in self.folder.glob("*") if path.is_file()) / 2**20
        return self._tried(STUDENT, self.folder, size, self._ends, self.basis)

    def tried(self, export: Export, folder: Path, size: float) -> Tried:
        """Raises MwalimuError: its runtime is not installed, or does not load it, or died."""
        return self._tried(export.name, folder, size, export.ends, export.basis)

    def _tried(
        self, name: str, folder: Path, size: float, ends: Sequence[int], basis: str
    ) -> Tried:
        out = self.place / name
        settings = self.config.export
        asked: dict[str, Any] = {
            "prompts": self._prompts,
            "ends": sorted(ends),
            "max_tokens": self.config.evaluate.max_tokens,
            "slots": settings.slots,
            "threads": settings.threads,
            "parity": [ids[:PARITY_TOKENS] for ids in self.calibration[:PARITY_ROWS]],
        }
        wanted = fingerprint(asked | {"basis": basis, "student": self.basis})
        read = fingerprint([self.basis, asked["parity"]])[:16]
        logits = self.place / f"logits-{read}.safetensors"
        job = Job(
            folder=str(folder),
            file_mib=size,
            parameters=None,
            logits=str(logits),
            wanted=wanted,
            out=str(out),
            **asked,
        )
        found = self._found(name, job)
        journal = Journal.opened(out / "answers.jsonl", wanted)
        answers = [journal.answers.get(row, UNANSWERED) for row in range(len(self.test))]
        spoken = [with_text(self._tokenizer, answer, ends) for answer in answers]
        rows = graded_rows(self.config, self.tasks, self.test, spoken)
        return Tried(found.loaded_mib, found.performance, found.parity, rows)

    def _found(self, name: str, job: Job) -> Found:
        stage, total, out = f"measure {name}", len(self.test), Path(job.out)
        journal = Journal.opened(out / "answers.jsonl", job.wanted)
        known = read_found(out, job.wanted)
        if (
            known is not None
            and len(journal.answers) == known.answered
            and Path(job.logits).exists()
        ):
            self.progress(stage, total, total, "already done")
            return known
        self.progress(stage, len(journal.answers), total, "")
        return self.trial(job, lambda done: self.progress(stage, done, total, ""))

    @property
    def _max_length(self) -> int:
        """Of a row in training."""
        from transformers import AutoConfig

        model = base_of(self.folder).get("model", self.folder)
        context = context_of(AutoConfig.from_pretrained(model))
        return self.config.student.max_length or min(MAX_LENGTH, context)

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizer = load_tokenizer(str(self.folder))
        prepare_tokenizer(tokenizer)
        return tokenizer

    @cached_property
    def _prompts(self) -> list[list[int]]:
        """Of the test rows, encoded as in the evaluation."""
        return [encode_prompt(self._tokenizer, r.messages, r.tools) for r in self.test]

    @cached_property
    def _ends(self) -> list[int]:
        from transformers import GenerationConfig

        generation = GenerationConfig.from_pretrained(self.folder)
        return sorted(ending_ids(generation, self._tokenizer))
