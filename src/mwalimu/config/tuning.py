"""The section `tune:` of `distill.yaml`: what a search over recipes may change, and for what."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from mwalimu.config.objective import Divergence
from mwalimu.config.section import Section

ObjectiveName = Literal["quality", "latency", "size", "cost"]
TemperatureSchedule = Literal["constant", "linear", "cosine", "per_sample"]
MAY_CHANGE = ("prepare", "generate", "ensemble", "curate", "signals", "finetune", "student", "data")


class RangeConfig(Section):
    """Numbers from `low` to `high`, both included; whole ones if both ends and the step are."""

    low: int | float = Field(description="the least")
    high: int | float = Field(description="the most")
    log: bool = Field(False, description="draw evenly by ratio")
    step: int | float | None = Field(None, gt=0, description="between two values that may be drawn")

    @model_validator(mode="after")
    def _is_a_range(self) -> RangeConfig:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError("a range by ratio begins above 0")
        if self.log and self.step is not None:
            raise ValueError("a range by ratio has no step")
        return self

    @property
    def whole(self) -> bool:
        return all(isinstance(one, int) for one in (self.low, self.high, self.step or 1))


class MixConfig(Section):
    """Of finetune.objective: one divergence from the teacher beside the answers as text."""

    divergences: tuple[Divergence, ...] = Field(
        ("forward_kl", "reverse_kl", "jsd"), min_length=1, description="of which one is drawn"
    )
    temperatures: tuple[float, ...] = Field(
        (1.0,), min_length=1, description="of which one is drawn"
    )
    schedules: tuple[TemperatureSchedule, ...] = Field(
        ("constant",), min_length=1, description="how a temperature other than 1 comes down to 1"
    )
    text: tuple[float, ...] = Field(
        (0.0, 0.25, 0.5, 0.75, 1.0), min_length=1, description="share of the answers as text"
    )

    @field_validator("text")
    @classmethod
    def _are_shares(cls, text: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 <= share <= 1 for share in text):
            raise ValueError("a share is from 0 to 1")
        return text


class MixtureRangeConfig(Section):
    """Of finetune.mixture: the weight of each group beside the first one, whose weight is 1."""

    groups: tuple[str, ...] = Field(min_length=2, description="of rows; the first has weight 1")
    by: str = Field("task", description="task, or a key of the rows' metadata")
    low: float = Field(0.5, gt=0, description="least weight")
    high: float = Field(2.0, gt=0, description="greatest weight")

    @model_validator(mode="after")
    def _is_a_range(self) -> MixtureRangeConfig:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if len(set(self.groups)) != len(self.groups):
            raise ValueError("groups names one twice")
        return self


Dimension = RangeConfig | MixConfig | MixtureRangeConfig | tuple[Any, ...]
OF_ONE_KEY: dict[type, str] = {
    MixConfig: "finetune.objective",
    MixtureRangeConfig: "finetune.mixture",
}


class TuneConfig(Section):
    """How the recipe is searched; no stage of the job itself reads any of it."""

    budget: str | None = Field(None, description="2h, 30m, 20usd, 50trials, or several by comma")
    objectives: tuple[ObjectiveName, ...] = Field(
        ("quality",),
        min_length=1,
        description="what a trial is judged by; of several a front is sought",
    )
    space: dict[str, Dimension] = Field(
        {}, description="key of the config -> choices, a range or a mix; a usual one if empty"
    )
    students: tuple[str, ...] = Field(
        (), description="models that may learn instead of student.model, of several sizes"
    )
    choose: Literal["best", "smallest"] = Field(
        "best", description="smallest: the smallest student within noise of the best one"
    )
    sampler: Literal["tpe", "gp", "random"] = Field("tpe", description="how trials are drawn")
    pruner: Literal["asha", "none"] = Field(
        "asha", description="asha ends trials early that are behind; of one objective only"
    )
    reduction: int = Field(3, ge=2, description="of asha: one in so many goes on at each rung")
    warm_up: int = Field(6, ge=1, description="trials drawn at random before tpe or gp models")
    seed: int = Field(0, ge=0, description="of the draws")
    parallel: int = Field(1, ge=1, description="trials at the same time")

    @field_validator("space")
    @classmethod
    def _may_change(cls, space: dict[str, Dimension]) -> dict[str, Dimension]:
        for key, dimension in space.items():
            section, _, rest = key.partition(".")
            if section not in MAY_CHANGE or (section == "data" and rest != "max_rows"):
                raise ValueError(f"{key} is not the recipe's: {', '.join(MAY_CHANGE[:-1])} are")
            if key != (only := OF_ONE_KEY.get(type(dimension), key)):
                raise ValueError(f"what is named there is of {only}, not of {key}")
            if isinstance(dimension, tuple) and not dimension:
                raise ValueError(f"{key} has no choice")
        return space

    @model_validator(mode="after")
    def _aims_once(self) -> TuneConfig:
        if len(set(self.objectives)) != len(self.objectives):
            raise ValueError("objectives names one twice")
        if self.students and "student.model" in self.space:
            raise ValueError("students says what space.student.model says; drop one of them")
        if self.choose == "smallest" and self.objectives != ("quality",):
            raise ValueError("choose: smallest weighs quality against size; objectives is quality")
        return self
