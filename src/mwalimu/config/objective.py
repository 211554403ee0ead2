"""What the student is taught with: parts with weights and temperatures, and the signals they need.

Imports no torch.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from mwalimu.config.section import Section

Divergence = Literal[
    "forward_kl", "reverse_kl", "jsd", "skew_forward_kl", "skew_reverse_kl", "total_variation"
]
PartKind = Literal[
    "cross_entropy",
    "forward_kl",
    "reverse_kl",
    "jsd",
    "skew_forward_kl",
    "skew_reverse_kl",
    "total_variation",
    "hidden",
    "attention",
    "chunk_likelihood",
    "optimal_transport",
]
PART_KINDS: tuple[str, ...] = get_args(PartKind)
DIVERGENCES: tuple[str, ...] = get_args(Divergence)
Encoding = Literal["sampled", "topk", "dense", "hidden", "realised"]
ENCODINGS: tuple[str, ...] = get_args(Encoding)


class Schedule(Section):
    """A number that changes: over the training, or from row to row with the teacher's confidence.

    `per_sample` goes from `start` for a row that the teacher is not sure of at all to `end` for one
    that it is wholly sure of (the mean probability it gives to the row's answer).
    """

    start: float = Field(
        ge=0, description="at the first step, or for a row that the teacher is not sure of"
    )
    end: float = Field(ge=0, description="at the last step, or for a row that it is sure of")
    shape: Literal["linear", "cosine", "per_sample"] = Field(
        "linear", description="the way from start to end"
    )
    over: float = Field(1.0, gt=0, le=1, description="the share of the training that it takes")

    def at(self, progress: float) -> float:
        """Its value when `progress` (0 to 1) of the training is done; of a row's, its confidence.

        Linear, or half a cosine: flat at both ends.
        """
        done = progress if self.shape == "per_sample" else min(1.0, progress / self.over)
        if self.shape == "cosine":
            done = 0.5 - 0.5 * math.cos(math.pi * done)
        return self.start + (self.end - self.start) * done


Scheduled = Annotated[float, Field(ge=0)] | Schedule


def goes_by_row(scheduled: Scheduled) -> bool:
    return isinstance(scheduled, Schedule) and scheduled.shape == "per_sample"


class PartConfig(Section):
    """One loss of the objective. `beta` is of jsd, `alpha` of the skew divergences."""

    kind: PartKind = Field(description="of loss: docs/objectives.md has the formulas")
    weight: Scheduled = 1.0
    temperature: Scheduled = 1.0
    square: bool = Field(True, description="times the temperature squared, the gradient too")
    beta: float | None = Field(None, gt=0, lt=1, description="1/2 if unset; to 0: forward KL")
    alpha: float | None = Field(None, gt=0, lt=1, description="0.1 if unset")
    layers: Literal["uniform", "last"] | tuple[tuple[int, int], ...] = Field(
        "uniform", description="of hidden and attention: pairs of student's and teacher's layer"
    )
    pairs: int | None = Field(None, ge=1, description="of uniform: how many; all if unset")
    distance: Literal["mse", "cosine", "kl"] | None = Field(
        None, description="of hidden: mse or cosine; of attention: kl or mse"
    )

    @model_validator(mode="after")
    def _fits(self) -> PartConfig:
        for name, kinds in (("beta", ("jsd",)), ("alpha", ("skew_forward_kl", "skew_reverse_kl"))):
            if getattr(self, name) is not None and self.kind not in kinds:
                raise ValueError(f"{name} is of {' and '.join(kinds)}, not of {self.kind}")
        if isinstance(self.temperature, Schedule):
            lowest = min(self.temperature.start, self.temperature.end)
        else:
            lowest = self.temperature
        if lowest <= 0:
            raise ValueError("a temperature has to be above 0")
        allowed = {"hidden": ("mse", "cosine"), "attention": ("kl", "mse")}.get(self.kind, ())
        if self.distance is not None and self.distance not in allowed:
            known = " or ".join(allowed) or "none"
            raise ValueError(f"distance {self.distance} does not fit {self.kind}: {known}")
        return self

    @property
    def parameter(self) -> float | None:
        return self.beta if self.beta is not None else self.alpha


class SignalsConfig(Section):
    """What is kept of the teacher's distribution, a token of its answers."""

    encoding: Literal["auto"] | Encoding = Field(
        "auto", description="of the distribution; what the objective needs if auto"
    )
    draws: int = Field(12, ge=1, le=64, description="of sampled")
    k: int = Field(16, ge=1, le=255, description="of topk: entries at most")
    top_p: float = Field(0.999, gt=0, le=1, description="of topk: mass after which a token is cut")
    hidden_dtype: Literal["float16", "int8"] = Field(
        "float16", description="of hidden: how states are kept"
    )
    batch_size: int = Field(16, ge=1, description="rows that the teacher scores at once")
    rows_per_shard: int = Field(2048, ge=1, description="of one file of the cache")
    vocabulary: int | None = Field(
        None, ge=1, description="ids that teacher and student share: found out, not to be set"
    )


class OnPolicyConfig(Section):
    """The student writes answers and the teacher scores them, beside the cached ones."""

    share: Scheduled = Field(0.5, description="of a step's rows whose answer the student writes")
    temperature: float = Field(1.0, ge=0, le=2, description="of the student's answers")
    top_p: float = Field(1.0, gt=0, le=1, description="of the student's answers")
    max_tokens: int = Field(256, ge=1, description="of one of the student's answers")

    @model_validator(mode="after")
    def _is_a_share(self) -> OnPolicyConfig:
        if goes_by_row(self.share):
            raise ValueError("share cannot go by the teacher's confidence in a row")
        ends = self.share
        highest = max(ends.start, ends.end) if isinstance(ends, Schedule) else ends
        if highest > 1:
            raise ValueError("share is at most 1")
        return self


def read_objective(value: Any) -> Any:
    """Kinds by name and parts, one or several: the list of parts that is meant; none for auto."""
    if value == "auto":
        return []
    parts = value if isinstance(value, list | tuple) else [value]
    return [{"kind": part} if isinstance(part, str) else part for part in parts]
