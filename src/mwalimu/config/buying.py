"""The section `active:` of `distill.yaml`: answers bought in rounds, while they pay."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mwalimu.config.section import Section


class ActiveConfig(Section):
    """Round 0 is bought at random, each later one where the student of the last is in doubt."""

    first: int | None = Field(
        None, ge=1, description="rows of round 0; a tenth of the prompts if unset"
    )
    batch: int | None = Field(
        None, ge=1, description="rows of each later round; a tenth of the prompts if unset"
    )
    rounds: int = Field(10, ge=1, description="at most, round 0 among them")
    by: Literal["doubt", "random"] = Field("doubt", description="how later rounds are chosen")
    look_at: int = Field(
        4000, ge=1, description="prompts that the student answers a round, to find its doubts"
    )
    stop_below: float = Field(
        0.5, ge=0, description="points; stop when surely the next round would add less"
    )
    usd_per_point: float | None = Field(
        None, gt=0, description="stop when surely a point would cost more; no limit if unset"
    )
