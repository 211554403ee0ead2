"""The sections of `distill.yaml`, typed, with their bounds. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, model_validator

from mwalimu.config.auto import AutoConfig
from mwalimu.config.buying import ActiveConfig
from mwalimu.config.curation import CurateConfig
from mwalimu.config.evaluation import EvaluateConfig
from mwalimu.config.export import ExportConfig
from mwalimu.config.objective import SignalsConfig
from mwalimu.config.preparation import Contamination, PrepareConfig, Privacy
from mwalimu.config.prompts import PromptsConfig
from mwalimu.config.scale import Scale, ScaleConfig
from mwalimu.config.section import Section
from mwalimu.config.student import StudentConfig
from mwalimu.config.teacher import TeacherConfig
from mwalimu.config.training import FinetuneConfig
from mwalimu.config.tuning import TuneConfig

Task = Literal[
    "nli", "conversation", "qa", "math", "summarization", "classification", "translation", "generic"
]
TASKS: tuple[str, ...] = get_args(Task)


class DataConfig(Section):
    """Sets of rows: each a file, a folder of them, or a pattern that names several.

    Relative paths are taken from the folder of distill.yaml.
    """

    train: Path | None = Field(None, description="left out where prompts are made")
    validation: Path | None = Field(
        None, description="prompts, or rows with gold answers, that tell when to stop"
    )
    test: Path | None = Field(
        None, description="held-out rows with gold answers; without them nothing is evaluated"
    )
    labelled: Path | None = Field(
        None, description="the few gold rows you have; they train the baseline, never the student"
    )
    traffic: Path | None = Field(
        None, description="folder of 'mwalimu serve --traffic': what was asked is learned too"
    )
    max_rows: int | None = Field(
        None, ge=1, description="of the training rows at most; all if unset"
    )
    contamination: Contamination = Field(
        "refuse", description="what to do about training rows that ask what a test row asks"
    )
    privacy: Privacy = Field(
        "off", description="personal data and keys in what a served teacher would be sent"
    )
    phone_region: str = Field(
        "US", pattern="^[A-Z]{2}$", description="whose phone numbers have no +prefix"
    )


class EnsembleConfig(Section):
    """Several teachers; `teacher` is the first of them, `others` follow in order."""

    strategy: Literal["vote", "judge", "best", "mix", "fallback", "route"] = Field(
        description="who answers, or whose answer is taken: docs/teachers.md"
    )
    others: tuple[TeacherConfig, ...] = Field((), min_length=1)
    judge: TeacherConfig | None = None
    weights: tuple[float, ...] = Field((), description="of mix: shares, the first teacher first")
    draws: int = Field(2, ge=1, description="of route: answers of a cheap teacher to compare")
    min_confidence: float = Field(
        0.0, ge=0, le=1, description="of route: mean token probability that needs no second opinion"
    )

    @model_validator(mode="after")
    def _complete(self) -> EnsembleConfig:
        if self.strategy == "judge" and self.judge is None:
            raise ValueError("strategy judge needs ensemble.judge")
        if self.weights and len(self.weights) != len(self.others) + 1:
            raise ValueError(f"weights has {len(self.weights)} shares for {len(self.others) + 1}")
        return self


class GenerateConfig(Section):
    """How every teacher is asked, and what counts as an answer."""

    min_ok: float = Field(1.0, ge=0, le=1, description="accepted share below this is a failure")
    deduplicate: bool = Field(True, description="a prompt that was there before is left out")
    samples: int = Field(1, ge=1, le=1000, description="answers a prompt")
    longer_once: float = Field(
        2.0, ge=1, description="a truncated answer is asked once more with so many times the tokens"
    )
    chain_of_thought: bool = Field(False, description="the teacher reasons before it answers")
    chain_of_density: bool = Field(
        False, description="of summaries: made denser in rounds, the densest is kept"
    )
    max_summary_words: int = Field(80, ge=1, description="of a chain of density")
    rationale: Literal["keep", "drop", "mix"] = Field(
        "keep", description="reasoning: a field of its own, nowhere, or in the target"
    )
    json_schema: Path | None = Field(None, description="a file; every answer has to satisfy it")
    conversation: Literal["last", "relabel", "simulate"] = Field(
        "last", description="what the teacher writes: the last turn, every turn, a new conversation"
    )
    turns: int = Field(3, ge=1, description="of simulate: exchanges at most")
    user_model: TeacherConfig | None = Field(None, description="of simulate: who plays the user")


class BudgetConfig(Section):
    """Hard caps on the teacher's work for one run folder, over all its resumes."""

    usd: float | None = Field(
        None, gt=0, description="dollars for the teachers' answers; no cap if unset"
    )
    tokens: int | None = Field(None, ge=1, description="of prompts and answers together")
    requests: int | None = Field(
        None, ge=0, description="of 0 nothing is asked: what was bought before has to do"
    )


class Config(Section):
    task: Task = Field(description="how answers are asked for and graded; a row may name its own")
    seed: int = Field(0, ge=0, description="of everything that is drawn")
    data: DataConfig = DataConfig()
    teacher: TeacherConfig
    student: StudentConfig
    prompts: PromptsConfig | None = None
    ensemble: EnsembleConfig | None = None
    prepare: PrepareConfig = PrepareConfig()
    active: ActiveConfig | None = None
    judge: TeacherConfig | None = Field(None, description="a model that compares two arms' answers")
    generate: GenerateConfig = GenerateConfig()
    curate: CurateConfig = CurateConfig()
    budget: BudgetConfig = BudgetConfig()
    signals: SignalsConfig = SignalsConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    export: ExportConfig = ExportConfig()
    scale: Scale = ScaleConfig()
    tune: TuneConfig = TuneConfig()
    auto: AutoConfig = AutoConfig()

    @model_validator(mode="after")
    def _has_prompts(self) -> Config:
        if self.prompts is None and self.data.train is None:
            raise ValueError("data.train: is required, or a section prompts that makes them")
        if self.prompts is not None and self.data.train is not None:
            raise ValueError("data.train: contradicts prompts, which makes them; drop one of them")
        if self.active is not None and self.data.validation is None:
            raise ValueError("active: needs data.validation, by which it sees what a round brought")
        return self

    def teachers(self) -> list[TeacherConfig]:
        """All models that are asked before stage 2, judges and the player of users among them."""
        ensemble = self.ensemble
        several = [*ensemble.others, ensemble.judge] if ensemble else []
        helpers = [self.generate.user_model, self.curate.judge.teacher]
        return [one for one in (self.teacher, *several, *helpers) if one]

    def scorer(self) -> TeacherConfig | None:
        """The judge of stage curate: its own, else the job's, else the ensemble's."""
        of_ensemble = self.ensemble.judge if self.ensemble else None
        return self.curate.judge.teacher or self.judge or of_ensemble
