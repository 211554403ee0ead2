"""What is done to the prompts before anything is paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mwalimu.config.section import Section, Worded

Contamination = Literal["refuse", "drop", "allow"]
Privacy = Worded[Literal["off", "warn", "mask", "refuse"]]
Overlap = Worded[Literal["off", "warn", "drop"]]


class BalanceConfig(Section):
    """Large groups of prompts are cut to a size like the others'."""

    by: Literal["label", "topic"] = Field("label", description="what a group of rows has in common")
    most: float = Field(3.0, ge=1, description="rows a group keeps, in median sizes of a group")


class SelectConfig(Section):
    """The prompts that teach most, within a budget of rows."""

    rows: int = Field(ge=1, description="that are kept")
    by: Literal["coverage", "loss", "disagreement", "random"] = Field(
        "coverage", description="which: spread over what there is, hard by scores of yours, or any"
    )
    scores: Path | None = Field(
        None, description='of loss and disagreement: JSONL with {"id", "score"} a row'
    )

    @model_validator(mode="after")
    def _scored(self) -> SelectConfig:
        if (self.by in ("loss", "disagreement")) != (self.scores is not None):
            raise ValueError(
                "by loss or disagreement needs prepare.select.scores, others take none"
            )
        return self


class PrepareConfig(Section):
    """Nothing of it is on by itself; what is set here makes the stage `prepare` run."""

    near_duplicates: float | None = Field(
        None, ge=0.5, le=0.95, description="Jaccard similarity from which a row repeats another"
    )
    overlap: Overlap = Field(
        "warn", description="what to do about 13 words in a row that a test row has too"
    )
    public_sets: tuple[str, ...] = Field(
        (), description="test sets to keep clear of: names that ship with mwalimu, or hash files"
    )
    topics: int | None = Field(None, ge=2, le=1000, description="groups to look for in the prompts")
    balance: BalanceConfig | None = None
    select: SelectConfig | None = None
