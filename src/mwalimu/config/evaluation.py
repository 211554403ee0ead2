"""The section `evaluate:` of `distill.yaml`: who is compared, on what, and what must be reached."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mwalimu.config.section import Section

ArmName = Literal["teacher", "before", "labels", "text", "distilled"]
DEFAULT_ARMS: tuple[ArmName, ...] = ("teacher", "before", "labels", "distilled")

# What may change without asking any arm again, or training any of them again.
OUTSIDE_THE_ANSWERS = (
    *("arms", "bootstrap", "divergence", "encoder", "groups", "load"),
    *("require", "rubric", "seeds", "tasks_file", "usd_per_hour"),
)


class LoadConfig(Section):
    """Requests at the same time: against the distilled student here, or a server."""

    clients: tuple[int, ...] = Field((1, 4), description="closed loop: so many wait in turn")
    rate: float | None = Field(None, gt=0, description="open loop: Poisson arrivals a second")
    requests: int = Field(40, ge=1, description="of each measurement, taken from the test rows")
    url: str | None = Field(None, description="OpenAI-compatible, .../v1; here if unset")
    model: str = Field("student", description="the name that the server at url knows")


class RequireConfig(Section):
    """The gate: least values that the distilled student has to reach; what is unset is free."""

    accuracy: float | None = Field(None, ge=0, le=1, description="mean score of the test rows")
    retention: float | None = Field(None, ge=0, description="share of the teacher's accuracy")
    macro_f1: float | None = Field(
        None, ge=0, le=1, description="of labels, each label counting the same"
    )
    agreement: float | None = Field(None, ge=0, le=1, description="with the teacher's answers")
    latency_p95_s: float | None = Field(None, gt=0, description="at most")
    calibration_error: float | None = Field(None, ge=0, le=1, description="ECE, at most")


class EvaluateConfig(Section):
    """Who answers the test rows, what is measured, and what has to be reached."""

    arms: tuple[ArmName, ...] = Field(
        DEFAULT_ARMS, description="who is compared; labels counts only where data.labelled is set"
    )
    seeds: int = Field(
        1, ge=1, le=20, description="trainings of the labels, text and distilled arms, with spread"
    )
    max_rows: int | None = Field(None, ge=1, description="of the test rows at most; all if unset")
    max_tokens: int = Field(512, ge=1, description="of one answer")
    batch_size: int = Field(64, ge=1, description="prompts that a local model answers at once")
    labelled_epochs: int | None = Field(
        None, ge=1, description="of the baseline on the gold rows; finetune.epochs if unset"
    )
    bootstrap: int = Field(
        2000, ge=100, description="times that rows are drawn again for an interval"
    )
    groups: tuple[str, ...] = Field((), description="metadata keys to score by")
    tasks_file: Path | None = Field(None, description="graders of your own: .yaml or .py")
    likelihood: bool = Field(True, description="read the texts: bits per byte and calibration")
    divergence: bool = Field(
        False, description="read a local teacher and the student side by side, both in memory"
    )
    encoder: str | None = Field(None, description="folder of an encoder, for BERTScore")
    rubric: str = Field(
        "correctness, completeness, helpfulness, clarity",
        description="what the model of the section judge looks at, with commas between",
    )
    load: LoadConfig | None = None
    usd_per_hour: float | None = Field(None, gt=0, description="of the student's machine")
    require: RequireConfig = RequireConfig()

    @model_validator(mode="after")
    def _compares_the_student(self) -> EvaluateConfig:
        if "distilled" not in self.arms:
            raise ValueError("evaluate.arms needs distilled: it is what the others are compared to")
        if len(set(self.arms)) != len(self.arms):
            raise ValueError("evaluate.arms names an arm twice")
        return self
