"""The section `tune:` of `distill.yaml`: what a search over recipes may change, and for what."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from mwalimu.config.objective import Divergence
from mwalimu.config.section import Section

ObjectiveName = Literal["quality", "latency", "size", "cost"]
MAY_CHANGE = ("prepare", "generate", "ensemble", "curate", "signals", "finetune", "student", "data")


class RangeConfig(Section):
    """Numbers from `low` to `high`, both included; whole ones if both ends and the step are."""

    low: int | float
    high: int | float
    log: bool = Field(False, description="draw evenly by ratio")
    step: int | float | None = Field(None, gt=0)

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

    divergences: tuple[Divergence, ...] = Field(("forward_kl", "reverse_kl", "jsd"), min_length=1)
    temperatures: tuple[float, ...] = Field((1.0,), min_length=1)
    anneal: bool = Field(
        False, description="try temperatures that fall to 1 in the training as well"
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


Dimension = RangeConfig | MixConfig | tuple[Any, ...]


class TuneConfig(Section):
    """How the recipe is searched; no stage of the job itself reads any of it."""

    budget: str | None = Field(None, description="2h, 30m, 20usd, 50trials, or several by comma")
    objectives: tuple[ObjectiveName, ...] = Field(("quality",), min_length=1)
    space: dict[str, Dimension] = Field(
        {}, description="key of the config -> choices, a range or a mix; a usual one if empty"
    )
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: Literal["asha", "none"] = Field(
        "asha", description="asha ends trials early that are behind; of one objective only"
    )
    reduction: int = Field(3, ge=2, description="of asha: one in so many goes on at each rung")
    warm_up: int = Field(6, ge=1, description="of tpe: trials drawn at random before it models")
    seed: int = Field(0, ge=0)
    parallel: int = Field(1, ge=1, description="trials at the same time")

    @field_validator("space")
    @classmethod
    def _may_change(cls, space: dict[str, Dimension]) -> dict[str, Dimension]:
        for key, dimension in space.items():
            section, _, rest = key.partition(".")
            if section not in MAY_CHANGE or (section == "data" and rest != "max_rows"):
                raise ValueError(f"{key} is not the recipe's: {', '.join(MAY_CHANGE[:-1])} are")
            if isinstance(dimension, MixConfig) and key != "finetune.objective":
                raise ValueError(f"a mix is of finetune.objective, not of {key}")
            if isinstance(dimension, tuple) and not dimension:
                raise ValueError(f"{key} has no choice")
        return space

    @model_validator(mode="after")
    def _aims_once(self) -> TuneConfig:
        if len(set(self.objectives)) != len(self.objectives):
            raise ValueError("objectives names one twice")
        return self
