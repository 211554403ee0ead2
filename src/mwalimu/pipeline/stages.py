"""The stages in order.

prompts -> prepare -> generate -> curate -> signals -> finetune -> evaluate -> export -> report,
each reading what the one before published in the run folder. This is the one place that knows more
than one stage.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwalimu.config import Config, dump_config, needed_signals, public_config
from mwalimu.data.dataset import Dataset, load_records
from mwalimu.data.record import Record
from mwalimu.errors import ConfigError, RunError
from mwalimu.files import atomic_writer, sha256_file, write_json
from mwalimu.garbage import importing
from mwalimu.pipeline.adopting import adopt
from mwalimu.pipeline.fingerprints import Fingerprints, of_prompts
from mwalimu.pipeline.inputs import Inputs, bought_prompts, read_inputs, streamed_test
from mwalimu.pipeline.observing import stage, watched
from mwalimu.pipeline.traffic import take_traffic_answers, with_traffic
from mwalimu.preparation.plan import is_wanted, prepared_prompts
from mwalimu.progress import Progress, silent
from mwalimu.run import Run, launched
from mwalimu.telemetry.setting_up import is_on

if TYPE_CHECKING:
    from mwalimu.finetune.watching.lr_finder import Found
    from mwalimu.preparation.screening import Sources
    from mwalimu.scale.mirror import Mirror
    from mwalimu.teachers.factory import Build


class Pipeline:
    """One config on one run folder.

    What another run among `donors` has finished under the same fingerprint before stage 2 is taken
    over from there.
    """

    def __init__(
        self,
        config: Config,
        root: Path,
        *,
        store: Path,
        progress: Progress = silent,
        donors: Sequence[Run] = (),
    ) -> None:
        self.asked = config
        self.store = store
        self.progress = progress
        self.mirror = self._mirrored(root)
        self.run = Run(root, on_finish=self.mirror.push if self.mirror else None)
        self.donors = donors
        self.why = ""
        self._screened = False

    @cached_property
    def config(self) -> Config:
        """Nothing in it is left at auto; `why` then says what was chosen, and for what reason."""
        from mwalimu.choosing import choose

        choice = choose(self.asked)
        self.progress("objective", 1, 1, choice.why)
        self.why = choice.why
        return choice.config

    @cached_property
    def fingerprints(self) -> Fingerprints:
        return Fingerprints(self.config, self.run)

    @cached_property
    def inputs(self) -> Inputs:
        """With `prompts`, the rows to learn are those that were made."""
        config = self.asked
        if config.prompts is not None:
            self._require_prompts()
            made = {"train": self.run.path("prompts", "train.jsonl")}
            config = config.model_copy(update={"data": config.data.model_copy(update=made)})
        if config.data.traffic is not None:
            config = with_traffic(config, self.run, self._note)
        return read_inputs(config)

    def _note(self, text: str) -> None:
        self.progress("prepare", 0, 0, text)

    def _require_prompts(self) -> None:
        self.run.require("prompts")
        if not self.run.is_done("prompts", of_prompts(self.asked)):
            raise RunError(
                "the prompts here were made with other settings or files",
                where=str(self.run.path("prompts")),
                fix="run 'mwalimu synthesise' again, or use a new --run",
            )

    @cached_property
    def prompts(self) -> dict[str, Dataset]:
        """What the teacher is asked: all prompts, or with `active` those that were chosen."""
        if self.asked.active is None:
            return self.pool
        return self.pool | {"train": bought_prompts(self.run, self.asked.task)}

    @cached_property
    def pool(self) -> dict[str, Dataset]:
        """What the teacher could be asked: the user's files, or what `prepare` left of them."""
        prompts = self.inputs.prompts
        if not is_wanted(self.asked):
            return prompts
        return prepared_prompts(self.run, self.asked.task, prompts)

    def _mirrored(self, root: Path) -> Mirror | None:
        """What lacks here is brought, what lacks there is sent: an earlier life may have failed."""
        if self.asked.scale.mirror is None:
            return None
        from mwalimu.scale.mirror import Mirror

        mirror = Mirror(self.asked.scale.mirror, root, self.store, self._note)
        mirror.pull()
        mirror.push()
        return mirror

    @cached_property
    def build(self) -> Build:
        """How the teachers are built: here, or on the nodes of a cluster."""
        from mwalimu.scale.teacher import builder_of

        return builder_of(self.asked.scale)

    def execute(self) -> dict[str, Any]:
        """Every stage that is not done yet; returns the evaluation's summary.

        Without a test file there is no evaluation: the report says so and the summary is stage 2's.
        """
        with watched(self.run) if is_on() else nullcontext():
            return self._execute()

    def _execute(self) -> dict[str, Any]:
        if self.asked.prompts is not None:
            self.synthesise()
        self.generate()
        self.curate()
        self.signals()
        summary = self.finetune()
        if self.config.data.test is not None:
            summary = self.evaluate()
        if self.config.export.targets:
            summary = summary | {"export": self.export()}
        self.report()
        return summary

    @stage("prompts")
    def synthesise(self) -> dict[str, Any]:
        """Before stage 1, with `prompts`: the teacher writes them. The student may not be there."""
        if self.asked.prompts is None:
            fix = "say how they are made; see docs/prompts.md"
            raise ConfigError("is not set", where="prompts", fix=fix)
        wanted = of_prompts(self.asked)
        if done := self._skipped("prompts", wanted):
            return done
        read_inputs(self.asked)  # the other files, before anything is paid for
        self._describe_config(self.asked)
        from mwalimu.synthesis.prompts import synthesise

        ledger = synthesise(
            self.asked,
            self.run,
            self.store,
            stage_fingerprint=wanted,
            on_progress=self.progress,
            build=self.build,
        )
        return dict(ledger["prompts"])

    @stage("prepare")
    def prepare(self) -> dict[str, Any]:
        """Before stage 1: what must not be asked is refused, what need not be is left out."""
        if not is_wanted(self.asked):
            self._screen()
            return {}
        wanted = self.fingerprints.prepare(self.inputs.hashes)
        if done := self._skipped("prepare", wanted):
            return done
        self._describe()
        from mwalimu.preparation.prepare import prepare

        self._screened = True
        return prepare(
            self.config,
            self.run,
            self._sources(),
            stage_fingerprint=wanted,
            on_progress=self.progress,
        )

    @stage("generate")
    def generate(self) -> dict[str, Any]:
        """Stage 1: the teacher answers the prompts, prepared as the config asks."""
        hashes = self.inputs.hashes  # a bad row is told before any model is looked at
        if is_wanted(self.asked):
            self.prepare()
            left = self.run.require("prepare").files
            hashes = {split: left[f"prepare/{split}.jsonl"] for split in self.prompts}
        if self.asked.active is not None:
            hashes = hashes | {"train": sha256_file(self.prompts["train"].path)}
        wanted = self.fingerprints.generate(hashes)
        if done := self._skipped("generate", wanted):
            return done
        self._describe()
        if not is_wanted(self.asked):
            self._screen()
        from mwalimu.choosing import check_scores
        from mwalimu.synthesis.generate import generate

        check_scores(self.config)
        if (traffic := self.config.data.traffic) is not None:
            take_traffic_answers(traffic, self.store, self._note)
        with self.mirror.following() if self.mirror else nullcontext():
            return generate(
                self.config,
                self.run,
                self.store,
                self.prompts["train"],
                self.prompts.get("validation"),
                stage_fingerprint=wanted,
                on_progress=self.progress,
                build=self.build,
            )

    @stage("curate")
    def curate(self) -> dict[str, Any]:
        """Between the stages: which of the accepted answers are worth learning."""
        wanted = self.fingerprints.curate(self.inputs.hashes)
        if done := self._skipped("curate", wanted):
            return done
        self._describe_config(self.config)
        from mwalimu.curation.curate import curate
        from mwalimu.judging import scorer

        return curate(
            self.config,
            self.run,
            gold=self.inputs.held_out.get("labelled", ()),
            ask=scorer(self.config, self.store, self.run.id, self.progress, self.build),
            stage_fingerprint=wanted,
            on_progress=self.progress,
        )

    @stage("signals")
    def signals(self) -> dict[str, Any]:
        """Between the stages: what the teacher says of its answers, if the objective needs it."""
        if not needed_signals(self.config):
            return {}
        wanted = self.fingerprints.signals()
        if done := self._skipped("signals", wanted):
            return done
        from mwalimu.scale.scorer import scorer_builder_of
        from mwalimu.synthesis.capture.capture import capture
        from mwalimu.synthesis.capture.scorers import build_scorer

        scorer = build_scorer(self.config, self.store, scorer_builder_of(self.config.scale))
        return capture(
            self.config, self.run, scorer, stage_fingerprint=wanted, on_progress=self.progress
        )

    @stage("finetune")
    def finetune(self) -> dict[str, Any]:
        """Stage 2: the student learns the accepted answers."""
        wanted = self.fingerprints.finetune()
        if done := self._skipped("finetune", wanted):
            return done
        self._describe_config(self.config)
        with importing():
            from mwalimu.finetune.finetune import finetune

        return finetune(
            self.config,
            self.run,
            stage_fingerprint=wanted,
            on_progress=self.progress,
            why=self.why,
        )

    @stage("finetune")
    def find_learning_rate(self) -> Found:
        """A range test on what stage 1 published; the fine-tuning itself is left alone."""
        with importing():
            from mwalimu.finetune.finetune import find_learning_rate

        return find_learning_rate(self.config, self.run, on_progress=self.progress)

    @stage("evaluate")
    def evaluate(self) -> dict[str, Any]:
        """The arms on the same held-out rows; without a test file there is nothing to do."""
        if self.config.data.test is None:
            raise ConfigError(
                "data.test is not set", where="evaluate", fix="name a file of held-out rows"
            )
        answers = self.fingerprints.answers(self.inputs.hashes)
        wanted = self.fingerprints.evaluate(answers)
        if done := self._skipped("evaluate", wanted):
            return done
        self._screen()  # the test file may be another than when the prompts were asked
        from mwalimu.arms import Arms, train_ahead

        with importing():
            from mwalimu.evaluation.evaluate import evaluate
        from mwalimu.judging import comparer
        from mwalimu.scale.spread import spread

        test = self.inputs.held_out["test"][: self.config.evaluate.max_rows]
        labelled = self.inputs.held_out.get("labelled", [])
        arms = Arms(
            self.config,
            self.run,
            self.store,
            labelled=labelled,
            test=test,
            validation=self.prompts.get("validation", ()),
            stage_fingerprint=answers,
            progress=self.progress,
            build=self.build,
        )
        told = (self.run.root.resolve(), self.store.resolve(), labelled, answers)
        spread(self.config, train_ahead, [(*told, *one) for one in arms.trainings()])
        return evaluate(
            self.config,
            self.run,
            arms.built(),
            test,
            stage_fingerprint=wanted,
            answers_fingerprint=answers,
            on_progress=self.progress,
            judge=comparer(self.config, self.store, self.run.id, self.progress, self.build),
        )

    @stage("evaluate")
    def harness(
        self, tasks: Sequence[str], *, include: Path | None = None, limit: int | None = None
    ) -> dict[str, Any]:
        """Tasks of lm-evaluation-harness on the student; also in evaluate/harness.json."""
        self.run.require("finetune")
        from mwalimu.evaluation.harness import run_harness

        folder = self.run.path("finetune", "student")
        found = run_harness(folder, tasks, include=include, limit=limit, seed=self.config.seed)
        write_json(self.run.path("evaluate", "harness.json"), found)
        return found

    @stage("export")
    def export(self) -> dict[str, Any]:
        """After stage 2: the student in every format that `export.targets` names, measured again.

        What is there and unchanged is neither made nor measured again. Without a test file the
        exports are only held against the student's logits.
        """
        self.run.require("finetune")
        if not self.config.export.targets:
            fix = "name formats there, or on the command line: --to onnx --precision int4"
            raise ConfigError("names nothing to export", where="export.targets", fix=fix)
        from mwalimu.shipping.launch import in_subprocess
        from mwalimu.shipping.stage import Stage
        from mwalimu.shipping.targets import with_made

        stage = Stage(
            self.config,
            self.run,
            self._test(),
            trial=in_subprocess,
            progress=self.progress,
            validation=self._validation(),
        )
        summary = stage.ship(self.fingerprints.export())
        self._describe_config(with_made(self.config, summary))
        return summary

    def _test(self) -> list[Record]:
        """The held-out rows alone: an export needs none of the user's other files."""
        if (path := self.config.data.test) is None:
            return []
        from mwalimu.evaluation.evaluate import require_references

        rows = load_records(path, task=self.config.task, split="test")
        require_references(rows)
        return rows[: self.config.evaluate.max_rows]

    def _validation(self) -> list[Record]:
        """The user's validation rows if all have a gold answer, else none."""
        if (path := self.config.data.validation) is None or self.config.export.finish is None:
            return []
        rows = load_records(path, task=self.config.task, split="validation")
        graded = all(row.reference is not None for row in rows)
        return rows[: self.config.evaluate.max_rows] if graded else []

    @stage("report")
    def report(self) -> tuple[Path, Path]:
        """Writes report.md and report.html from what the run folder holds."""
        self.run.require("finetune")
        from mwalimu.report import write_report

        return write_report(self.run)

    def has(self, stage: str, wanted: str) -> bool:
        """Whether `stage` is done under this fingerprint, here or in a donor."""
        adopt(self.run, stage, wanted, self.donors)
        return self.run.is_done(stage, wanted)

    def _skipped(self, stage: str, wanted: str) -> dict[str, Any] | None:
        adopt(self.run, stage, wanted, self.donors)
        state = self.run.stage(stage)
        if state is None or state.fingerprint != wanted:
            return None
        self.progress(stage, 1, 1, "already done")
        return state.summary or {"skipped": True}

    def _describe(self) -> None:
        self.run.describe(inputs=self.inputs.hashes, versions=versions())
        self._describe_config(self.config)

    def _describe_config(self, config: Config) -> None:
        """Again before stage 2, whose settings may have changed since stage 1."""
        if launched()[0]:
            return  # the first of several processes does it
        self.run.describe(config=public_config(config), seed=config.seed)
        with atomic_writer(self.run.path("config.yaml")) as handle:
            handle.write(dump_config(config).encode())

    def _screen(self) -> None:
        """Refuses what the config says must not be asked; looks once in a process."""
        from mwalimu.preparation.screening import screen

        if not self._screened:
            screen(self.config, self._sources(), self._note)
        self._screened = True

    def _sources(self) -> Sources:
        from mwalimu.preparation.screening import Sources

        prompts, test = self.inputs.prompts, streamed_test(self.asked, self.inputs)
        return Sources(prompts["train"], prompts.get("validation"), test)


def versions() -> dict[str, str]:
    """Of what decides the bytes of a result."""
    packages = ("mwalimu", "torch", "transformers", "tokenizers", "peft")
    return {"python": platform.python_version()} | {p: metadata.version(p) for p in packages}
