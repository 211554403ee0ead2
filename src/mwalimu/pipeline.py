"""The stages in order, what each one's result depends on, and so what a resume may skip.

generate -> finetune -> evaluate -> report, each reading what the one before published in the run
folder. This is the one place that knows more than one stage.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwalimu.config import (
    OUTSIDE_THE_RESULT,
    Config,
    TeacherConfig,
    capture_temperature,
    dump_config,
    needed_signals,
    public_config,
)
from mwalimu.data.dataset import Dataset, load_records, open_dataset
from mwalimu.data.record import Record
from mwalimu.errors import ConfigError
from mwalimu.run import Run, atomic_writer, fingerprint, launched, model_hashes, sha256_file

if TYPE_CHECKING:
    from mwalimu.finetune.watching.lr_finder import Found

Progress = Callable[[str, int, int, str], None]
"""Called with (stage, done, total, note)."""

SPLITS = ("train", "validation", "test", "labelled")
PROMPTS = {"train", "validation"}  # what the teacher is asked in stage 1
# What may change without changing a single answer.
_NOT_IN_ANSWERS = {"concurrency", "timeout_s", "idle_s", "outage_s", "max_retries", "mode"}
_NOT_IN_ANSWERS |= {"api_key_env", "base_url", "route", "deployment", "api_version", "auth"}
_NOT_IN_ANSWERS |= {f"usd_per_million_{kind}" for kind in ("input", "output", "cached")}
_NOT_IN_ANSWERS |= {"batch_factor", "tokenizer", "scoring"}


def silent(stage: str, done: int, total: int, note: str) -> None:
    """The progress of those who watch none."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The user's files, all read and checked before anything is paid for.

    The prompts are streamed, however many there are; the held-out rows fit in memory.
    """

    prompts: dict[str, Dataset]
    held_out: dict[str, list[Record]]
    hashes: dict[str, str]


class Pipeline:
    """One config on one run folder."""

    def __init__(
        self, config: Config, root: Path, *, store: Path, progress: Progress = silent
    ) -> None:
        self.asked = config
        self.run = Run(root)
        self.store = store
        self.progress = progress
        self.why = ""
        self._inputs: Inputs | None = None

    @cached_property
    def config(self) -> Config:
        """Nothing in it is left at auto; `why` then says what was chosen, and for what reason."""
        from mwalimu.choosing import choose

        choice = choose(self.asked)
        self.progress("objective", 1, 1, choice.why)
        self.why = choice.why
        return choice.config

    @property
    def inputs(self) -> Inputs:
        if self._inputs is None:
            self._inputs = read_inputs(self.config)
        return self._inputs

    def execute(self) -> dict[str, Any]:
        """Every stage that is not done yet; returns the evaluation's summary.

        Without a test file there is no evaluation: the report says so and the summary is stage 2's.
        """
        self.generate()
        self.signals()
        summary = self.finetune()
        if self.config.data.test is not None:
            summary = self.evaluate()
        self.report()
        return summary

    def generate(self) -> dict[str, Any]:
        """Stage 1: the teacher answers the prompts."""
        wanted = self._generate_fingerprint()
        if done := self._skipped("generate", wanted):
            return done
        self._describe()
        from mwalimu.choosing import check_scores
        from mwalimu.synthesis.generate import generate

        check_scores(self.config)
        return generate(
            self.config,
            self.run,
            self.store,
            self.inputs.prompts["train"],
            self.inputs.prompts.get("validation"),
            stage_fingerprint=wanted,
            on_progress=self.progress,
        )

    def signals(self) -> dict[str, Any]:
        """Between the stages: what the teacher says of its answers, if the objective needs it."""
        if not needed_signals(self.config):
            return {}
        wanted = self._signals_fingerprint()
        if done := self._skipped("signals", wanted):
            return done
        from mwalimu.synthesis.capture.capture import capture
        from mwalimu.synthesis.capture.scorers import build_scorer

        scorer = build_scorer(self.config, self.store)
        return capture(
            self.config, self.run, scorer, stage_fingerprint=wanted, on_progress=self.progress
        )

    def finetune(self) -> dict[str, Any]:
        """Stage 2: the student learns the accepted answers."""
        wanted = self._finetune_fingerprint()
        if done := self._skipped("finetune", wanted):
            return done
        self._describe_config()
        from mwalimu.finetune.finetune import finetune

        return finetune(
            self.config,
            self.run,
            stage_fingerprint=wanted,
            on_progress=self.progress,
            why=self.why,
        )

    def find_learning_rate(self) -> Found:
        """A range test on what stage 1 published; the fine-tuning itself is left alone."""
        from mwalimu.finetune.finetune import find_learning_rate

        return find_learning_rate(self.config, self.run, on_progress=self.progress)

    def evaluate(self) -> dict[str, Any]:
        """The four arms on the same held-out rows; without a test file there is nothing to do."""
        if self.config.data.test is None:
            raise ConfigError(
                "data.test is not set", where="evaluate", fix="name a file of held-out rows"
            )
        wanted = self._evaluate_fingerprint()
        if done := self._skipped("evaluate", wanted):
            return done
        from mwalimu.arms import build_arms
        from mwalimu.evaluation.evaluate import evaluate

        test = self.inputs.held_out["test"][: self.config.evaluate.max_rows]
        arms = build_arms(
            self.config,
            self.run,
            self.store,
            labelled=self.inputs.held_out.get("labelled", []),
            test=test,
            validation=self.inputs.prompts.get("validation", ()),
            stage_fingerprint=wanted,
            progress=self.progress,
        )
        return evaluate(
            self.config,
            self.run,
            arms,
            test,
            stage_fingerprint=wanted,
            on_progress=self.progress,
        )

    def report(self) -> tuple[Path, Path]:
        """Writes report.md and report.html from what the run folder holds."""
        self.run.require("finetune")
        from mwalimu.report import write_report

        return write_report(self.run)

    def _skipped(self, stage: str, wanted: str) -> dict[str, Any] | None:
        state = self.run.stage(stage)
        if state is None or state.fingerprint != wanted:
            return None
        self.progress(stage, 1, 1, "already done")
        return state.summary or {"skipped": True}

    def _describe(self) -> None:
        self.run.describe(inputs=self.inputs.hashes, versions=versions())
        self._describe_config()

    def _describe_config(self) -> None:
        """Again before stage 2, whose settings may have changed since stage 1."""
        if launched()[0]:
            return  # the first of several processes does it
        self.run.describe(config=public_config(self.config), seed=self.config.seed)
        with atomic_writer(self.run.path("config.yaml")) as handle:
            handle.write(dump_config(self.config).encode())

    def _generate_fingerprint(self) -> str:
        config = self.config
        return fingerprint(
            {
                "task": config.task,
                "teacher": self._teacher_facts,
                "generate": config.generate.model_dump(exclude={"user_model"}),
                "schema": _contents(config.generate.json_schema),
                "ensemble": self._ensemble_facts,
                "max_rows": config.data.max_rows,
                "seed": config.seed,
                "inputs": {k: self.inputs.hashes.get(k) for k in ("train", "validation")},
            }
        )

    @cached_property
    def _teacher_facts(self) -> list[Any]:
        """Read once: the hashes of a large local teacher take their time."""
        return _facts(self.config.teacher)

    @cached_property
    def _ensemble_facts(self) -> list[Any]:
        ensemble = self.config.ensemble
        user = self.config.generate.user_model
        helpers = [_facts(user)] if user else []
        if ensemble is None:
            return helpers
        judge = [_facts(ensemble.judge)] if ensemble.judge else []
        how = ensemble.model_dump(exclude={"others", "judge"})
        return [how, *map(_facts, ensemble.others), *judge, *helpers]

    def _signals_fingerprint(self) -> str:
        config = self.config
        tokenizer = config.teacher.tokenizer
        return fingerprint(
            {
                "tokenizer": [tokenizer, model_hashes(tokenizer)] if tokenizer else [],
                "data": self.run.require("generate").files,
                "teacher": [*self._teacher_facts, config.teacher.tokenizer],
                "needed": needed_signals(config),
                "temperature": capture_temperature(config),
                "signals": config.signals.model_dump(exclude={"batch_size"}),
                "layers": [part.layers for part in config.finetune.objective],
            }
        )

    def _finetune_fingerprint(self) -> str:
        data = self.run.require("generate").files
        config = self.config
        signals = self.run.require("signals").files if needed_signals(config) else {}
        live = [*self._teacher_facts] if config.finetune.teacher == "live" else []
        if live and config.teacher.scoring != "none":
            tokenizer = config.teacher.tokenizer or ""
            live += [config.signals.k, tokenizer, model_hashes(tokenizer)]
        return fingerprint(
            {
                "data": data,
                "signals": signals,
                "teacher": live,
                "student": config.student.model_dump(),
                "model": model_hashes(config.student.model),
                "finetune": config.finetune.model_dump(exclude=set(OUTSIDE_THE_RESULT)),
                "seed": config.seed,
            }
        )

    def _evaluate_fingerprint(self) -> str:
        return fingerprint(
            {
                "student": self.run.require("finetune").files,
                "teacher": [*self._teacher_facts, *self._ensemble_facts],
                "evaluate": self.config.evaluate.model_dump(),
                "inputs": {k: self.inputs.hashes.get(k) for k in ("test", "labelled")},
            }
        )


def read_inputs(config: Config) -> Inputs:
    """Reads every file that the config names; all bad rows of a file are in one error."""
    prompts: dict[str, Dataset] = {}
    held_out: dict[str, list[Record]] = {}
    hashes: dict[str, str] = {}
    for split in SPLITS:
        path: Path | None = getattr(config.data, split)
        if path is None:
            continue
        if split in PROMPTS:
            rows = config.data.max_rows if split == "train" else None
            prompts[split] = open_dataset(path, task=config.task, split=split, max_rows=rows)
        else:
            held_out[split] = load_records(path, task=config.task, split=split)
        hashes[split] = sha256_file(path)
    return Inputs(prompts, held_out, hashes)


def _facts(teacher: TeacherConfig) -> list[Any]:
    return [teacher.model_dump(exclude=_NOT_IN_ANSWERS), model_hashes(teacher.model)]


def _contents(path: Path | None) -> str | None:
    return sha256_file(path) if path is not None and path.is_file() else None


def versions() -> dict[str, str]:
    """Of what decides the bytes of a result."""
    packages = ("mwalimu", "torch", "transformers", "tokenizers", "peft")
    return {"python": platform.python_version()} | {p: metadata.version(p) for p in packages}
