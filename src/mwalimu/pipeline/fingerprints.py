"""What each stage's result depends on, as one hash: equal hashes let a resume skip the stage."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from mwalimu.config import (
    OUTSIDE_THE_ANSWERS,
    OUTSIDE_THE_RESULT,
    PROMPT_FILES,
    Config,
    TeacherConfig,
    capture_temperature,
    needed_signals,
)
from mwalimu.data.shards import rows_hash
from mwalimu.preparation.plan import facts
from mwalimu.run import LEARNED, Run, fingerprint, model_hashes, sha256_path

# What may change without changing a single answer.
_NOT_IN_ANSWERS = {"concurrency", "timeout_s", "idle_s", "outage_s", "max_retries", "mode"}
_NOT_IN_ANSWERS |= {"api_key_env", "base_url", "route", "deployment", "api_version", "auth"}
_NOT_IN_ANSWERS |= {f"usd_per_million_{kind}" for kind in ("input", "output", "cached")}
_NOT_IN_ANSWERS |= {"batch_factor", "tokenizer", "scoring"}

Hashes = Mapping[str, str | None]
"""Of files of rows, by split."""


def of_prompts(config: Config) -> str:
    """Of the prompts that the teacher is to write; nothing in `config` has been chosen yet."""
    settings = config.prompts
    assert settings is not None
    others = [name for name in PROMPT_FILES if name != "seeds"]
    files = {name: _contents(getattr(settings, name)) for name in others}
    files["seeds"] = rows_hash(settings.seeds)
    shaping = config.generate.model_dump(include={"turns", "longer_once"})
    return fingerprint(
        {
            "prompts": settings.model_dump(exclude=set(PROMPT_FILES)),
            "files": files,
            "generate": shaping,
            "task": config.task,
            "teacher": _facts(config.teacher),
            "user": _facts(config.generate.user_model) if config.generate.user_model else [],
            "seed": config.seed,
        }
    )


class Fingerprints:
    """Of one config, with nothing left at auto, on one run folder."""

    def __init__(self, config: Config, run: Run) -> None:
        self.config = config
        self.run = run

    def prepare(self, inputs: Mapping[str, str]) -> str:
        return fingerprint(facts(self.config, inputs))

    def generate(self, prompts: Hashes) -> str:
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
                "inputs": {split: prompts.get(split) for split in ("train", "validation")},
            }
            | ({"masked": config.data.phone_region} if config.data.privacy == "mask" else {})
        )

    def curate(self, inputs: Hashes) -> str:
        config = self.config
        judge = config.scorer()
        schema = config.curate.json_schema or config.generate.json_schema
        return fingerprint(
            {
                "data": _rows_of(self.run.require("generate").files),
                "curate": config.curate.model_dump(exclude={"judge": {"teacher"}}),
                "judge": [*_facts(judge), config.seed] if judge else [],
                "schema": _contents(schema),
                "generate": [config.generate.rationale, config.generate.samples],
                "task": config.task,
                "labelled": inputs.get("labelled"),
            }
        )

    def signals(self) -> str:
        config = self.config
        tokenizer, scoring = config.teacher.tokenizer, config.teacher.scoring
        return fingerprint(
            {
                "tokenizer": [tokenizer, model_hashes(tokenizer)] if tokenizer else [],
                "data": self.learned(),
                "teacher": [*self._teacher_facts, config.teacher.tokenizer],
                "needed": needed_signals(config),
                "temperature": capture_temperature(config),
                "signals": config.signals.model_dump(exclude={"batch_size"}),
                "layers": [part.layers for part in config.finetune.objective],
            }
            | ({} if scoring == "none" else {"scoring": scoring})
        )

    def finetune(self) -> str:
        data = self.learned()
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

    def evaluate(self, answers: str) -> str:
        """`answers` is the fingerprint of what the arms are asked."""
        settings, judge = self.config.evaluate, self.config.judge
        return fingerprint(
            {
                "answers": answers,
                "evaluate": settings.model_dump(),
                "tasks": _contents(settings.tasks_file),
                "encoder": model_hashes(settings.encoder) if settings.encoder else {},
                "judge": _facts(judge) if judge else [],
            }
        )

    def answers(self, inputs: Hashes) -> str:
        """Of what the arms are trained on and asked."""
        return fingerprint(
            {
                "student": self.run.require("finetune").files,
                "teacher": [*self._teacher_facts, *self._ensemble_facts],
                "evaluate": self.config.evaluate.model_dump(exclude=set(OUTSIDE_THE_ANSWERS)),
                "inputs": {k: inputs.get(k) for k in ("test", "labelled")},
            }
        )

    def export(self) -> str:
        """Each export has a finer one of its own; this is of the stage's summary."""
        config, test = self.config, self.config.data.test
        return fingerprint(
            {
                "student": self.run.require("finetune").files,
                "export": config.export.model_dump(),
                "evaluate": config.evaluate.model_dump(),
                "tasks": _contents(config.evaluate.tasks_file),
                "test": rows_hash(test),
                "validation": rows_hash(config.data.validation) if config.export.finish else [],
                "data": self.learned(),
                "seed": config.seed,
            }
        )

    def learned(self) -> dict[str, str]:
        """The hashes of the rows to learn; a student learns nothing that was not curated."""
        self.run.require("generate")
        return _rows_of(self.run.require("curate").files)

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


def _rows_of(files: dict[str, str]) -> dict[str, str]:
    """Of a stage's files those that are learned from: rejects and counts teach nothing."""
    return {name: digest for name, digest in files.items() if Path(name).stem in LEARNED}


def _facts(teacher: TeacherConfig) -> list[Any]:
    return [teacher.model_dump(exclude=_NOT_IN_ANSWERS), model_hashes(teacher.model)]


def _contents(path: Path | None) -> str | None:
    return sha256_path(path) if path is not None and path.exists() else None
